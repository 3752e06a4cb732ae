/**
 * Tokens that a request can carry, and what a side makes of each (§3.3): it looks in their place or not, and
 * takes them or answers 401 or 403. One token a request, in one place; a CORS preflight is one without.
 */
import { readHeaderName } from '../casbin/condition-key.ts'
import type { InboundBundle, JwtRule, TokenRule } from '../model/index.ts'

/** Where a token stands. */
export type TokenPlace =
  | { readonly in: 'header'; readonly name: string; readonly prefix: string }
  | { readonly in: 'parameter' | 'cookie'; readonly name: string }

/** A kind of token. */
export interface TokenKind {
  /** The value of the attribute `token`. */
  readonly id: string
  readonly place: TokenPlace
  /**
   * Who signed it; `undefined`: nobody whose keys any rule has. `issuer` is what it says of itself, where rules
   * ask for that; else it may say anything.
   */
  readonly signed: { readonly issuer: string | undefined; readonly keys: string } | undefined
}

/** What one side makes of tokens. */
export interface TokenView {
  /** Ids of those that it takes, if their audience is right. */
  readonly taken: ReadonlySet<string>
  /** By id of those: the audiences of which it must name one; not there: any will do. */
  readonly audiences: ReadonlyMap<string, readonly string[]>
  /** Ids of those that it refuses. */
  readonly refused: ReadonlySet<string>
  /** Headers of clients that its DENY and ALLOW policies do not see. */
  readonly dropped: ReadonlySet<string>
}

/**
 * Headers that enforced policies read and that tokens fill: what a token puts there (a list as base64, say) is not
 * followed here, so nothing is told for certain of requests with one.
 */
export function headersOfTokens(bundle: InboundBundle | undefined): readonly string[] {
  const filled = new Set((bundle?.tokenRules ?? []).flatMap(outputsOf))
  if (filled.size === 0) return []
  const enforced = (bundle?.authorization ?? []).filter(
    ({ dryRun, action }) => !dryRun && action !== 'AUDIT',
  )
  const keys = enforced.flatMap(({ rules }) => rules.flatMap(({ when = [] }) => when))
  const read = keys.flatMap(({ key }) => readHeaderName(key) ?? [])
  return [...new Set(read)].filter((name) => filled.has(name)).sort()
}

function outputsOf({ outputPayloadToHeader, outputClaimToHeaders }: TokenRule): readonly string[] {
  const claims = outputClaimToHeaders.map(({ header }) => header)
  return outputPayloadToHeader === undefined ? claims : [outputPayloadToHeader, ...claims]
}

/** Stands for the keys of a rule that names them by URI: two rules that name the same have the same. */
export function keyNameOf({ jwksUri, issuer }: JwtRule): string {
  return JSON.stringify([jwksUri ?? null, jwksUri === undefined ? (issuer ?? null) : null])
}

/** Every kind of token that some rule of some side tells from others; none without rules. */
export function tokenKinds(bundles: readonly (InboundBundle | undefined)[]): readonly TokenKind[] {
  const rules = bundles.flatMap((bundle) => bundle?.tokenRules ?? [])
  const signers = new Map(rules.map((rule) => [signerKey(rule), signerOf(rule)]))
  return placesTold(rules).flatMap(({ place, readers }) => {
    const here = [...signers].filter(([key]) => readers.some((rule) => signerKey(rule) === key))
    const elsewhere = [...signers].find(([key]) => !here.some(([own]) => own === key))
    const told = elsewhere === undefined ? here : [...here, elsewhere]
    return [
      ...told.map(([key, signed]) => ({ id: `${key} ${placeKey(place)}`, place, signed })),
      { id: `invalid ${placeKey(place)}`, place, signed: undefined },
    ]
  })
}

/** What the side of `bundle` makes of `kinds`. */
export function tokenView(
  bundle: InboundBundle | undefined,
  kinds: readonly TokenKind[],
): TokenView {
  const rules = bundle?.tokenRules ?? []
  const taken = new Set<string>()
  const refused = new Set<string>()
  const audiences = new Map<string, readonly string[]>()
  for (const { id, place, signed } of kinds) {
    const readers = rules.filter((rule) => readsPlace(rule, place))
    const takers = readers.filter((rule) => signed !== undefined && takes(rule, signed))
    if (takers.length > 0) taken.add(id)
    else if (readers.length > 0) refused.add(id)
    const lists = takers.flatMap((rule) => (rule.audiences === undefined ? [] : [rule.audiences]))
    if (takers.length > 0 && lists.length === takers.length) audiences.set(id, lists.flat())
  }
  const dropped = rules.flatMap(outputsOf)
  return { taken, refused, audiences, dropped: new Set(dropped) }
}

/** Issuers whose keys the two sides name differently: whether one key set has the other's keys nobody can know here. */
export function issuersWithOtherKeys(
  bundles: readonly (InboundBundle | undefined)[],
): readonly string[] {
  const [before, after] = bundles.map((bundle) => keysByIssuer(bundle?.tokenRules ?? []))
  return [...(before ?? [])].flatMap(([issuer, keys]) => {
    const others = after?.get(issuer)
    return others === undefined || others === keys ? [] : [issuer]
  })
}

function keysByIssuer(rules: readonly TokenRule[]): ReadonlyMap<string, string> {
  const byIssuer = Map.groupBy(rules, ({ issuer = '' }) => issuer)
  return new Map(
    [...byIssuer].map(([issuer, own]) => [issuer, JSON.stringify(own.map(keysOf).sort())]),
  )
}

type Signed = NonNullable<TokenKind['signed']>

function signerOf(rule: TokenRule): Signed {
  return { issuer: rule.issuer, keys: keysOf(rule) }
}

/** Of an issuer that is named all keys are its own. */
function signerKey(rule: TokenRule): string {
  return rule.issuer === undefined ? `keys ${keysOf(rule)}` : `issuer ${rule.issuer}`
}

function takes(rule: TokenRule, { issuer, keys }: Signed): boolean {
  return rule.issuer === undefined ? keysOf(rule) === keys : rule.issuer === issuer
}

function keysOf({ keys }: TokenRule): string {
  return keys.kind === 'missing' ? 'missing' : `${keys.kind} ${keys.jwks}`
}

const DEFAULT_PLACES: readonly TokenPlace[] = [
  { in: 'header', name: 'authorization', prefix: 'Bearer ' },
  { in: 'parameter', name: 'access_token' },
]

/** As soon as one list is given, only what is listed is searched (§3.3). */
function placesOf({ fromHeaders, fromParams, fromCookies }: TokenRule): readonly TokenPlace[] {
  const listed: readonly TokenPlace[] = [
    ...fromHeaders.map(({ name, prefix }) => ({ in: 'header', name, prefix }) as const),
    ...fromParams.map((name) => ({ in: 'parameter', name }) as const),
    ...fromCookies.map((name) => ({ in: 'cookie', name }) as const),
  ]
  return listed.length > 0 ? listed : DEFAULT_PLACES
}

function placeKey(place: TokenPlace): string {
  return place.in === 'header'
    ? `header ${place.name} ${JSON.stringify(place.prefix)}`
    : `${place.in} ${place.name}`
}

function readsPlace(rule: TokenRule, place: TokenPlace): boolean {
  return placesOf(rule).some((one) => placeKey(one) === placeKey(place))
}

/** One place for each set of rules that look there. */
function placesTold(
  rules: readonly TokenRule[],
): readonly { readonly place: TokenPlace; readonly readers: readonly TokenRule[] }[] {
  const told = new Map<string, { place: TokenPlace; readers: readonly TokenRule[] }>()
  for (const place of rules.flatMap(placesOf)) {
    const readers = rules.filter((rule) => readsPlace(rule, place))
    const key = readers.map((rule) => rules.indexOf(rule)).join()
    if (!told.has(key)) told.set(key, { place, readers })
  }
  return [...told.values()]
}

/** A token's kind in words; completes "the request …". */
export function tokenPhrase({ place, signed }: TokenKind): string {
  const where =
    place.in === 'header' ? `header ${place.name}` : `${place.in} ${JSON.stringify(place.name)}`
  if (signed === undefined) return `carries an invalid token (${where})`
  const by = signed.issuer === undefined ? 'an issuer with known keys' : signed.issuer
  return `carries a token of ${by} (${where})`
}
