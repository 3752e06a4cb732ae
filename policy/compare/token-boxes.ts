/** What tokens are to boxes: which requests are refused for theirs, and whose claims policies see. */
import { exactPattern } from './pattern.ts'
import { type Alternatives, type Atom, claimId, type Literal } from './literal.ts'
import type { Action } from '../model/index.ts'
import type { TokenKind, TokenView } from './tokens.ts'

/** A request's token is one of `ids`. */
export function tokenIn(ids: ReadonlySet<string>, phrase: string): Literal {
  const name = `one of ${[...ids].sort().join('; ')}`
  const meets = (value: string | undefined): boolean => value !== undefined && ids.has(value)
  return { attribute: 'token', negated: false, atoms: [{ phrase, name, meets }] }
}

/** Alternatives of requests that are answered 401 or 403 for their token. */
export function refusedTokens({ refused, audiences }: TokenView): Alternatives {
  return [
    ...(refused.size === 0 ? [] : [[tokenIn(refused, 'carries a token that is refused')]]),
    ...[...audiences].map(([id, names]) => [
      tokenIn(new Set([id]), 'carries such a token'),
      { attribute: claimId(['aud']), negated: true, atoms: names.flatMap(audienceAtoms) },
    ]),
  ]
}

/** A scheme in front and one slash behind do not count (§3.1). */
function audienceAtoms(audience: string): readonly Atom[] {
  const name = audience.replace(/^https?:\/\//, '').replace(/\/$/, '')
  return ['', 'http://', 'https://'].flatMap((scheme) =>
    ['', '/'].map((end): Atom => {
      const text = `${scheme}${name}${end}`
      const pattern = exactPattern(text)
      const { phrase } = pattern
      return { phrase, exact: text, pattern, meets: (value) => value === text }
    }),
  )
}

/**
 * The request as policies of `action` see it: CUSTOM as it came, all others as its token made it (§1.3).
 *
 * @param isAgain - whether CUSTOM is held against what the token made of it, too
 */
export function viewsOf(
  tokens: TokenView,
  action: Action,
  isAgain: boolean,
): readonly (TokenView | undefined)[] {
  if (action !== 'CUSTOM') return [tokens]
  const differ = tokens.taken.size > 0 || tokens.dropped.size > 0
  return isAgain && differ ? [undefined, tokens] : [undefined]
}

/**
 * What a policy's alternatives ask on a side: claims are those of a token that it takes, and there are none
 * otherwise; headers that outputs of tokens are put into are the client's to nobody.
 *
 * @param view - `undefined`: the policy is asked before tokens are read (§1.3, CUSTOM)
 */
export function withTokens(alternatives: Alternatives, view: TokenView | undefined): Alternatives {
  return alternatives.flatMap((literals): Alternatives => {
    const seen = literals.filter(({ attribute }) => !isDropped(attribute, view))
    const hidden = literals.filter(({ attribute }) => isDropped(attribute, view))
    if (hidden.some(({ negated }) => !negated)) return []
    const claims = seen.filter(({ attribute }) => attribute.startsWith('claim:'))
    if (claims.length === 0) return [seen]
    const others = seen.filter((literal) => !claims.includes(literal))
    const isAbsentFine = claims.every(({ negated }) => negated)
    if (view === undefined || view.taken.size === 0) return isAbsentFine ? [others] : []
    const taken = tokenIn(view.taken, 'carries a token that is taken')
    return [[taken, ...seen], ...(isAbsentFine ? [[{ ...taken, negated: true }, ...others]] : [])]
  })
}

function isDropped(attribute: string, view: TokenView | undefined): boolean {
  const isHeader = attribute.startsWith('header:')
  return isHeader && view?.dropped.has(attribute.slice('header:'.length)) === true
}

/** Combinations of token and claims that cannot be; `claims`: ids of the claims that are told apart. */
export function impossibleTokens(
  kinds: readonly TokenKind[],
  claims: readonly string[],
): Alternatives {
  const signed = kinds.filter((kind) => kind.signed !== undefined)
  const ids = new Set(signed.map(({ id }) => id))
  const unsigned: Literal = { ...tokenIn(ids, 'carries a token'), negated: true }
  const issuers = Map.groupBy(signed, ({ signed: by }) => by?.issuer)
  return [
    ...claims.map((attribute) => [unsigned, presence(attribute)]),
    ...[...issuers].flatMap(([issuer, own]): Alternatives => {
      if (issuer === undefined) return []
      const carried = tokenIn(new Set(own.map(({ id }) => id)), 'carries such a token')
      const isIt = exactPattern(issuer)
      const attribute = claimId(['iss'])
      const atom: Atom = { phrase: isIt.phrase, pattern: isIt, meets: (value) => value === issuer }
      const other: Atom = {
        phrase: `is another issuer than ${issuer}`,
        name: `not ${issuer}`,
        meets: (value) => value !== undefined && value !== issuer,
      }
      return [
        [carried, { attribute, negated: true, atoms: [atom] }],
        [carried, { attribute, negated: false, atoms: [other] }],
      ]
    }),
  ]
}

function presence(attribute: string): Literal {
  const atom: Atom = { phrase: 'is there', meets: (value) => value !== undefined }
  return { attribute, negated: false, atoms: [atom] }
}
