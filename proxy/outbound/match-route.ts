/** One `match` block of a route as a test (istio-semantics §5.4). */
import { compileClaim } from '#policy/casbin/index.ts'
import type { ClaimMatch, Claims, RouteMatch, TextMatch } from '#policy/model/index.ts'
import { textOf } from '../http/text.ts'
import { type CompileRegex, compileTextMatch, type TextTest } from './match-text.ts'

/** What routing reads of a request. `RequestHead` is one. */
export interface RouteInput {
  readonly method: string
  /** Origin form, query included. */
  readonly target: string
  /** `Host` as sent, port included. */
  readonly authority: string
  /** Names in lower case. */
  readonly fields: {
    readonly first: (name: string) => string | undefined
    /** One value a line. */
    readonly values: (name: string) => readonly string[]
  }
  /** Of a token that was verified; only a gateway knows any. */
  readonly claims?: Claims | undefined
}

/** Answers whether a request meets a block. `path` is its target without the query. */
export type RouteTest = (input: RouteInput, path: string) => boolean

export interface MatchContext {
  /** What `scheme` is compared with. */
  readonly scheme: 'http' | 'https'
  readonly regex: CompileRegex
}

/**
 * Compiles a block; `undefined` when every request meets it.
 *
 * @throws {ProxyError} `PROXY_CONFIG_INVALID`
 */
export function compileRouteMatch(match: RouteMatch, context: MatchContext): RouteTest | undefined {
  const tests = [
    ...uriTests(match, context),
    ...attributeTests(match, context),
    ...fieldTests(match, context),
    ...queryTests(match, context),
    ...claimTests(match, context),
  ]
  const [only, ...others] = tests
  if (only === undefined || others.length === 0) return only
  return (input, path) => tests.every((test) => test(input, path))
}

function* uriTests(
  { uri, ignoreUriCase = false }: RouteMatch,
  { regex }: MatchContext,
): Generator<RouteTest> {
  if (uri === undefined) return
  // Envoy's catch-all; every path starts so.
  if (uri.kind === 'prefix' && uri.value === '/') return
  const test = compileTextMatch(uri, { regex, ignoreCase: ignoreUriCase })
  yield (_, path) => test(path)
}

function* attributeTests(match: RouteMatch, context: MatchContext): Generator<RouteTest> {
  const { scheme, method, authority } = match
  if (scheme !== undefined) {
    const isMet = compileTextMatch(scheme, context)(context.scheme)
    yield () => isMet
  }
  if (method !== undefined) {
    const test = compileTextMatch(method, context)
    yield (input) => test(input.method)
  }
  if (authority !== undefined) {
    const test = compileTextMatch(authority, context)
    yield (input) => test(input.authority)
  }
}

function* fieldTests(
  { headers = {}, withoutHeaders = {} }: RouteMatch,
  context: MatchContext,
): Generator<RouteTest> {
  for (const [name, match] of Object.entries(headers)) {
    const test = compileTextMatch(match, context)
    yield ({ fields }) => {
      const value = joined(fields, name)
      return value !== undefined && test(value)
    }
  }
  for (const [name, match] of Object.entries(withoutHeaders))
    yield withoutField(name, match, context)
}

/** A field that is missing counts as empty, and so meets the negation unless the empty text matches. */
function withoutField(name: string, match: TextMatch, context: MatchContext): RouteTest {
  if (match.kind === 'present') return ({ fields }) => fields.first(name) === undefined
  const test = compileTextMatch(match, context)
  return ({ fields }) => !test(joined(fields, name) ?? '')
}

/** Lines of one name are one value (RFC 9110 §5.3), joined as Envoy joins them. */
function joined(fields: RouteInput['fields'], name: string): string | undefined {
  const values = fields.values(name).map(textOf)
  return values.length < 2 ? values[0] : values.join(',')
}

/** A claim that is missing, or neither a text nor a list with texts, meets nothing, and so every negation. */
function* claimTests(
  { claims = [], withoutClaims = [] }: RouteMatch,
  context: MatchContext,
): Generator<RouteTest> {
  const compile = ({ path, match }: ClaimMatch) =>
    compileClaim(path, compileTextMatch(match, context))
  for (const test of claims.map(compile)) yield (input) => test(input.claims)
  for (const test of withoutClaims.map(compile)) yield (input) => !test(input.claims)
}

function* queryTests(
  { queryParams = {} }: RouteMatch,
  context: MatchContext,
): Generator<RouteTest> {
  for (const [name, match] of Object.entries(queryParams)) {
    const test: TextTest = compileTextMatch(match, context)
    yield ({ target }) => {
      const value = queryValue(target, name)
      return value !== undefined && test(value)
    }
  }
}

/**
 * The first value of query parameter `name` in `target`, as sent (not percent-decoded); '' for one
 * without `=`; `undefined` when absent.
 */
export function queryValue(target: string, name: string): string | undefined {
  let at = target.indexOf('?') + 1
  if (at === 0) return undefined
  while (at <= target.length) {
    const next = target.indexOf('&', at)
    const end = next === -1 ? target.length : next
    const nameEnd = at + name.length
    if (nameEnd <= end && target.startsWith(name, at)) {
      if (nameEnd === end) return ''
      if (target[nameEnd] === '=') return target.slice(nameEnd + 1, end)
    }
    at = end + 1
  }
  return undefined
}
