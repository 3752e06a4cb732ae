/**
 * The space of requests that some boxes tell apart: one dimension an attribute that any of them reads,
 * and in it one value for each class of values that no box tells apart.
 */
import type { TrustDomain } from '#ca/spiffe/index.ts'
import {
  type InboundBundle,
  type PathNormalization,
  withoutPathParameters,
} from '../model/index.ts'
import type { Atom, AttributeId, Literal } from './literal.ts'
import type { Box, Entry } from './side.ts'
import { type TokenKind, tokenPhrase } from './tokens.ts'
import { createClassOf, createMembers, valuesOf } from './values.ts'

/** `undefined`: the attribute is absent. */
export type Value = string | undefined

export interface Dimension {
  readonly attribute: AttributeId
  /** Several values at once: lines of a header, strings of a claim's list. None is absence. */
  readonly many: boolean
  /** One of each class, plain ones first. */
  readonly values: readonly Value[]
  /** The classes whose values meet `atom`. */
  readonly members: (atom: Atom) => readonly number[]
  /** Words for sets of classes, as policies have them; found when they are asked for. */
  readonly words: () => readonly Word[]
  /** The class of a value; `undefined` for one that cannot be. */
  readonly classOf: (value: Value) => number | undefined
}

/** A phrase, and the classes that it is true of. */
export interface Word {
  readonly phrase: string
  readonly exact?: string
  readonly members: ReadonlySet<number>
}

/** What holds for both sides of a comparison. */
export interface Scope {
  readonly entries: readonly Entry[]
  readonly trustDomains: readonly TrustDomain[]
  readonly pathNormalization: PathNormalization
  readonly tokens: readonly TokenKind[]
  /** Whether a path rule applies, so that `;` matters. */
  readonly parameters: boolean
}

/** In the order in which requests are divided: what is plain to people first. */
const ORDER = ['entry', 'peer', 'method', 'path', 'host', 'sni']
const LAST = ['remoteIp', 'sourceIp', 'destinationIp']

/** The dimensions of what `boxes` read; entry, peer, method and path always. */
export function spaceOf(boxes: readonly Box[], scope: Scope): readonly Dimension[] {
  const literals = new Map<AttributeId, Literal[]>()
  for (const attribute of ['entry', 'peer', 'method', 'path']) literals.set(attribute, [])
  for (const literal of boxes.flatMap((box) => box.literals)) {
    const own = literals.get(literal.attribute) ?? []
    own.push(literal)
    literals.set(literal.attribute, own)
  }
  return [...literals.keys()].sort(byOrder).map((attribute) => {
    return dimensionOf(attribute, uniqueAtoms(literals.get(attribute) ?? []), scope)
  })
}

function dimensionOf(attribute: AttributeId, atoms: readonly Atom[], scope: Scope): Dimension {
  const { many, values, texts } = valuesOf(attribute, atoms, scope)
  const members = createMembers(values, texts)
  const kinds = attribute === 'token' ? scope.tokens.map(kindAtom) : []
  let words: readonly Word[] | undefined
  return {
    attribute,
    many,
    values,
    members,
    words: () => (words ??= wordsOf(attribute, [...kinds, ...atoms], members)),
    classOf: createClassOf(values, atoms, texts),
  }
}

function byOrder(a: AttributeId, b: AttributeId): number {
  const rank = (id: AttributeId): number => {
    if (ORDER.includes(id)) return ORDER.indexOf(id)
    if (id === 'token') return 40
    return LAST.includes(id) ? 100 + LAST.indexOf(id) : 50
  }
  return rank(a) - rank(b) || (a < b ? -1 : 1)
}

/** Two sides may say one thing of different values, of a port say: what has no pattern is kept apart. */
function uniqueAtoms(literals: readonly Literal[]): readonly Atom[] {
  const first = new Map<unknown, Atom>()
  for (const { atoms } of literals) {
    for (const { strippedOf, ...own } of atoms) {
      const atom = strippedOf ?? own
      const key = atom.pattern?.key ?? atom.name ?? atom.meets
      if (!first.has(key)) first.set(key, atom)
    }
  }
  return [...first.values()]
}

const ABSENCES: Readonly<Record<string, string>> = {
  peer: 'presents no certificate',
  token: 'carries no token',
}

function kindAtom(kind: TokenKind): Atom {
  const { id } = kind
  return { phrase: tokenPhrase(kind), name: id, meets: (value) => value === id }
}

function wordsOf(
  attribute: AttributeId,
  atoms: readonly Atom[],
  members: Dimension['members'],
): readonly Word[] {
  const missing = ABSENCES[attribute] ?? 'is absent'
  const absent: Atom = { phrase: missing, meets: (value) => value === undefined }
  const parameters: Atom = {
    phrase: 'has path parameters (;)',
    meets: (value) => value !== undefined && withoutPathParameters(value) !== value,
  }
  const own = attribute === 'path' ? [parameters] : [absent]
  const byPhrase = Map.groupBy([...atoms, ...own], ({ phrase }) => phrase)
  return [...byPhrase].flatMap(([phrase, same]): readonly Word[] => {
    const sets = new Set(same.map((atom) => members(atom).join()))
    const alternatives = same.every(({ pattern }) => pattern !== undefined)
    // What the two sides mean differently is no word for people.
    if (sets.size > 1 && !alternatives) return []
    const exact = same[0]?.exact
    const met = new Set(same.flatMap((atom) => members(atom)))
    return [{ phrase, members: met, ...(exact === undefined ? {} : { exact }) }]
  })
}

/** The entries that some bundles and boxes tell apart: their ports, those that policies name, and one that nobody names. */
export function portsOf(
  bundles: readonly (InboundBundle | undefined)[],
  boxes: readonly { readonly phrase: string }[],
): readonly number[] {
  const declared = bundles.flatMap((bundle) => bundle?.ports.map(({ port }) => port) ?? [])
  const named = boxes.flatMap(({ phrase }) => {
    const [, port = ''] = /^is to port (\d+)$/.exec(phrase) ?? []
    return port === '' ? [] : [Number(port)]
  })
  const known = new Set([...declared, ...named].filter((port) => port > 0))
  let other = 10_000
  while (known.has(other)) other += 1
  return [...known, other]
}
