/** Where tokens stand in a request (istio-semantics §3.3, §0.8.23–24). */
import type { TokenRule } from './token-rule.ts'

/** A request, as far as tokens are concerned. */
export interface TokenRequest {
  readonly method: string
  /** Origin form, with its query. */
  readonly target: string
  /** The values of header `name` (lower case), in order: lines, or one where several are one value. */
  readonly header: (name: string) => readonly string[]
}

/** A token, and where it was found. */
export interface FoundToken {
  readonly text: string
  readonly place: 'header' | 'parameter' | 'cookie'
  /** Of the header, the parameter or the cookie. */
  readonly name: string
}

const DEFAULT_HEADERS: TokenRule['fromHeaders'] = [{ name: 'authorization', prefix: 'Bearer ' }]
const DEFAULT_PARAMS: TokenRule['fromParams'] = ['access_token']
const TOKEN_CHARACTER = /[A-Za-z0-9_.-]/

/** The tokens in the places of `rule`: headers first, then parameters, then cookies, each by name. */
export function findTokens(rule: TokenRule, request: TokenRequest): readonly FoundToken[] {
  const { fromHeaders, fromParams, fromCookies } = placesOf(rule)
  const found: FoundToken[] = []
  for (const { name, prefix } of fromHeaders.toSorted(byHeader)) {
    for (const value of request.header(name)) {
      const text = tokenAfter(prefix, value)
      if (text !== undefined) found.push({ text, place: 'header', name })
    }
  }
  const query = fromParams.length === 0 ? [] : parametersOf(request.target)
  for (const name of fromParams.toSorted()) {
    const first = query.find((one) => one.name === name)
    if (first !== undefined) found.push({ text: first.value, place: 'parameter', name })
  }
  const cookies = fromCookies.length === 0 ? undefined : cookiesOf(request.header('cookie'))
  for (const name of fromCookies.toSorted()) {
    const text = cookies?.get(name)
    if (text !== undefined) found.push({ text, place: 'cookie', name })
  }
  return found
}

/** Names of headers, lower case, in which the rule looks for tokens. */
export function tokenHeaders(rule: TokenRule): readonly string[] {
  const { fromHeaders, fromCookies } = placesOf(rule)
  return [...fromHeaders.map(({ name }) => name), ...(fromCookies.length > 0 ? ['cookie'] : [])]
}

/** As soon as one list is given, only what is listed is searched. */
function placesOf({
  fromHeaders,
  fromParams,
  fromCookies,
}: TokenRule): Pick<TokenRule, 'fromHeaders' | 'fromParams' | 'fromCookies'> {
  return fromHeaders.length + fromParams.length + fromCookies.length > 0
    ? { fromHeaders, fromParams, fromCookies }
    : { fromHeaders: DEFAULT_HEADERS, fromParams: DEFAULT_PARAMS, fromCookies: [] }
}

function byHeader(
  a: TokenRule['fromHeaders'][number],
  b: TokenRule['fromHeaders'][number],
): number {
  return a.name + a.prefix < b.name + b.prefix ? -1 : 1
}

/** The prefix counts wherever it stands, and what lies between it and the token does not. */
function tokenAfter(prefix: string, value: string): string | undefined {
  if (prefix === '') return value
  const at = value.indexOf(prefix)
  if (at === -1) return undefined
  const rest = value.slice(at + prefix.length)
  const start = rest.search(TOKEN_CHARACTER)
  return start === -1 ? value : rest.slice(start)
}

/** Pairs of a target's query, in order. */
function parametersOf(
  target: string,
): readonly { readonly name: string; readonly value: string }[] {
  const at = target.indexOf('?')
  if (at === -1) return []
  return target
    .slice(at + 1)
    .split('&')
    .map((pair) => {
      const equals = pair.indexOf('=')
      return equals === -1
        ? { name: unescaped(pair), value: '' }
        : { name: unescaped(pair.slice(0, equals)), value: unescaped(pair.slice(equals + 1)) }
    })
}

/** `target` without the parameters of these names; every other byte stays. */
export function withoutParameters(target: string, names: readonly string[]): string {
  const at = target.indexOf('?')
  if (at === -1) return target
  const kept = target
    .slice(at + 1)
    .split('&')
    .filter((pair) => !names.includes(unescaped(pair.split('=', 1)[0] ?? '')))
  return kept.length === 0 ? target.slice(0, at) : `${target.slice(0, at)}?${kept.join('&')}`
}

function unescaped(text: string): string {
  if (!text.includes('%')) return text
  const bytes = text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
  return Buffer.from(bytes, 'latin1').toString('utf8')
}

/**
 * The first of each name counts. Spaces before a name are none of it, as Envoy reads cookies, and those behind it
 * are; those behind a value are ignored as what a token is decoded from has none.
 */
function cookiesOf(lines: readonly string[]): ReadonlyMap<string, string> {
  const cookies = new Map<string, string>()
  for (const pair of lines.flatMap((line) => line.split(';'))) {
    const equals = pair.indexOf('=')
    if (equals === -1) continue
    const name = pair.slice(0, equals).replace(/^ +/, '')
    const value = pair.slice(equals + 1).replace(/^"(.*)"$/, '$1')
    if (!cookies.has(name)) cookies.set(name, value.trimEnd())
  }
  return cookies
}
