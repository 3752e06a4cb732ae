/** What a comparison divides: boxes, what cannot be, and the space that they tell apart. */
import type { TrustDomain } from '#ca/spiffe/index.ts'
import type { PathNormalization } from '../model/index.ts'
import type { Atom, AttributeId, Literal } from './literal.ts'
import { impossibleTokens } from './token-boxes.ts'
import type { TokenKind } from './tokens.ts'
import { relevantBoxes } from './relevant.ts'
import { type Box, boxesOf, chainOf, type Entry, namesPaths, type Side } from './side.ts'
import { type Dimension, portsOf, spaceOf } from './space.ts'

/** Sides of one workload, and everything that tells their requests apart. */
export interface Arena {
  readonly boxes: readonly (readonly Box[])[]
  /** Requests that no client can make. */
  readonly impossible: readonly Box[]
  readonly space: readonly Dimension[]
}

/**
 * @param more - boxes beside those of the sides whose attributes must be told apart
 * @param tokens - every kind that the sides' views are of
 */
export function createArena(
  sides: readonly Side[],
  more: readonly Box[],
  tokens: readonly TokenKind[],
): Arena {
  const bundles = sides.map(({ bundle }) => bundle)
  const trustDomains = new Set<TrustDomain>()
  for (const { mesh } of sides) {
    for (const domain of [mesh.trustDomain, ...mesh.trustDomainAliases]) trustDomains.add(domain)
  }
  const entriesIn = (list: readonly Box[]): readonly Entry[] => {
    const atoms = list.flatMap(({ literals }) => literals.flatMap((literal) => literal.atoms))
    return entriesOf(sides, portsOf(bundles, atoms))
  }
  const written = sides.map(boxesOf)
  const boxes =
    more.length === 0 && sides.length > 1
      ? relevantBoxes(written, entriesIn(written.flat()))
      : written
  const all = [...boxes.flat(), ...more]
  const impossible = impossibleBoxes(new Set(attributesOf(all)), tokens)
  const scope = {
    entries: entriesIn(all),
    trustDomains: [...trustDomains],
    pathNormalization: strictest(sides.map(({ mesh }) => mesh.pathNormalization)),
    tokens,
    parameters: bundles.some((bundle) => bundle !== undefined && namesPaths(bundle.authorization)),
  }
  return { boxes, impossible, space: spaceOf([...all, ...impossible], scope) }
}

const STRICTNESS: readonly PathNormalization[] = [
  'NONE',
  'BASE',
  'MERGE_SLASHES',
  'DECODE_AND_MERGE_SLASHES',
]

/** Paths that this mode leaves alone, the others leave alone too. */
function strictest(modes: readonly PathNormalization[]): PathNormalization {
  return STRICTNESS.findLast((mode) => modes.includes(mode)) ?? 'BASE'
}

/** HTTP, and TCP where every side takes it; where no side tells them apart, one of the two. */
function entriesOf(sides: readonly Side[], ports: readonly number[]): readonly Entry[] {
  return ports.flatMap((port) => {
    const chains = (entry: Entry) => sides.map((side) => chainOf(side, entry))
    const http = chains(`${port}/http`)
    const tcp = chains(`${port}/tcp`)
    return [
      ...(http.includes('http') ? [`${port}/http`] : []),
      ...(tcp.every((chain) => chain === 'tcp') ? [`${port}/tcp`] : []),
    ]
  })
}

function attributesOf(boxes: readonly Box[]): readonly AttributeId[] {
  return boxes.flatMap(({ literals }) => literals.map(({ attribute }) => attribute))
}

function impossibleBoxes(
  read: ReadonlySet<AttributeId>,
  tokens: readonly TokenKind[],
): readonly Box[] {
  const box = (...literals: readonly Literal[]): Box => ({ purpose: 'refuse', literals })
  const claims = [...read].filter((attribute) => attribute.startsWith('claim:'))
  const fromTokens = read.has('token') ? impossibleTokens(tokens, claims) : []
  return [
    ...fromTokens.map((literals) => box(IS_HTTP, ...literals)),
    // Without TLS there is no SNI.
    ...(read.has('sni') ? [box(isAbsent('peer'), isPresent('sni'))] : []),
    // HTTP answers a QUERY without one 400.
    ...(read.has('header:content-type')
      ? [box(isExactly('method', 'QUERY'), isAbsent('header:content-type'))]
      : []),
    // A claim is a text, or the object that another claim is in.
    ...claims.flatMap((outer) =>
      claims
        .filter((inner) => inner !== outer && inner.startsWith(`${outer.slice(0, -1)},`))
        .map((inner) => box(isPresent(outer), isPresent(inner))),
    ),
  ]
}

const IS_HTTP: Literal = {
  attribute: 'entry',
  negated: false,
  atoms: [{ phrase: 'speaks HTTP', meets: (entry) => entry?.endsWith('/http') === true }],
}

function isPresent(attribute: AttributeId): Literal {
  return {
    attribute,
    negated: false,
    atoms: [{ phrase: 'is there', meets: (value) => value !== undefined }],
  }
}

function isAbsent(attribute: AttributeId): Literal {
  return { ...isPresent(attribute), negated: true }
}

function isExactly(attribute: AttributeId, text: string): Literal {
  const atom: Atom = { phrase: `is ${text}`, meets: (value) => value === text }
  return { attribute, negated: false, atoms: [atom] }
}
