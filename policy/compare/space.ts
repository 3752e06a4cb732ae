/**
 * The space of requests that some boxes tell apart: one dimension an attribute that any of them reads,
 * and in it one value for each class of values that no box tells apart.
 */
import type { TrustDomain } from '#ca/spiffe/index.ts'
import {
  headerValues,
  type InboundBundle,
  KNOWN_METHODS,
  type PathNormalization,
  withoutPathParameters,
} from '../model/index.ts'
import { addressClasses } from './address-classes.ts'
import {
  AUTHORITY,
  CLAIM_TEXT,
  HEADER_VALUE,
  identityGrammar,
  pathGrammar,
  SERVER_NAME,
} from './grammar.ts'
import type { Atom, AttributeId, Literal } from './literal.ts'
import type { Pattern } from './pattern.ts'
import type { Box, Entry } from './side.ts'
import { textClasses } from './text-classes.ts'

/** `undefined`: the attribute is absent. */
export type Value = string | undefined

export interface Dimension {
  readonly attribute: AttributeId
  /** Several values at once: lines of a header, strings of a claim's list. None is absence. */
  readonly many: boolean
  /** One of each class, plain ones first. */
  readonly values: readonly Value[]
  /** Words for sets of classes, as policies have them. */
  readonly words: readonly Word[]
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
  /** Whether a path rule applies, so that `;` matters. */
  readonly parameters: boolean
}

/** In the order in which requests are divided: what is plain to people first. */
const ORDER = ['entry', 'peer', 'method', 'path', 'host', 'sni']
/** What an example has where it can. */
const FAMILIAR_METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH']
const LAST = ['remoteIp', 'sourceIp', 'destinationIp']
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/i

/** The dimensions of what `boxes` read; entry, peer, method and path always. */
export function spaceOf(boxes: readonly Box[], scope: Scope): readonly Dimension[] {
  const literals = new Map<AttributeId, Literal[]>()
  for (const attribute of ['entry', 'peer', 'method', 'path']) literals.set(attribute, [])
  for (const literal of boxes.flatMap((box) => box.literals)) {
    literals.set(literal.attribute, [...(literals.get(literal.attribute) ?? []), literal])
  }
  return [...literals.keys()].sort(byOrder).map((attribute) => {
    const atoms = uniqueAtoms(literals.get(attribute) ?? [])
    const { many, values } = valuesOf(attribute, atoms, scope)
    const words = wordsOf(attribute, values, atoms)
    return { attribute, many, values, words, classOf: createClassOf(attribute, values, atoms) }
  })
}

function byOrder(a: AttributeId, b: AttributeId): number {
  const rank = (id: AttributeId): number => {
    if (ORDER.includes(id)) return ORDER.indexOf(id)
    return LAST.includes(id) ? 100 + LAST.indexOf(id) : 50
  }
  return rank(a) - rank(b) || (a < b ? -1 : 1)
}

/** Two sides may say one thing of different values, of a port say: what has no pattern is kept apart. */
function uniqueAtoms(literals: readonly Literal[]): readonly Atom[] {
  const atoms = literals.flatMap((literal) => literal.atoms)
  const first = new Map<unknown, Atom>()
  for (const atom of atoms) {
    const key = atom.pattern?.key ?? atom.block ?? atom
    if (!first.has(key)) first.set(key, atom)
  }
  return [...first.values()]
}

type Values = Pick<Dimension, 'many' | 'values'>

function valuesOf(attribute: AttributeId, atoms: readonly Atom[], scope: Scope): Values {
  const patterns = [
    ...new Map(
      atoms.flatMap(({ pattern }) => (pattern === undefined ? [] : [[pattern.key, pattern]])),
    ).values(),
  ]
  const one = (...values: readonly Value[]): Values => ({ many: false, values })
  switch (attribute) {
    case 'entry':
      return one(...scope.entries)
    case 'peer':
      return one(...textClasses(patterns, identityGrammar(scope.trustDomains)), undefined)
    case 'method':
      return one(...distinct([...FAMILIAR_METHODS, ...KNOWN_METHODS], atoms))
    case 'path': {
      const { parameters, pathNormalization } = scope
      const grammar = pathGrammar(pathNormalization, parameters)
      return one(...textClasses(patterns, grammar, { parameters }))
    }
    case 'host':
      return one(undefined, ...textClasses(patterns, AUTHORITY))
    case 'sni':
      return one(undefined, ...textClasses(patterns, SERVER_NAME))
    case 'sourceIp':
    case 'destinationIp':
    case 'remoteIp': {
      const blocks = atoms.flatMap(({ block }) => (block === undefined ? [] : [block]))
      return one(...distinct(addressClasses(blocks), atoms))
    }
    default:
      return attribute.startsWith('claim:')
        ? { many: true, values: textClasses(patterns, CLAIM_TEXT) }
        : headerClasses(attribute.slice('header:'.length), patterns)
  }
}

/** Some headers are one value however many lines they have; a name that is none is never there. */
function headerClasses(name: string, patterns: readonly Pattern[]): Values {
  if (!TOKEN.test(name)) return { many: false, values: [undefined] }
  const values = textClasses(patterns, HEADER_VALUE)
  const joins = headerValues(name, ['a', 'b']).length === 1
  return joins ? { many: false, values: [undefined, ...values] } : { many: true, values }
}

/** The first of each class. */
function distinct(values: readonly string[], atoms: readonly Atom[]): readonly string[] {
  const first = new Map<string, string>()
  for (const value of values) {
    const label = atoms.map(({ meets }) => (meets(value) ? '1' : '0')).join('')
    if (!first.has(label)) first.set(label, value)
  }
  return [...first.values()]
}

function createClassOf(
  attribute: AttributeId,
  values: readonly Value[],
  atoms: readonly Atom[],
): Dimension['classOf'] {
  const bits = (value: Value): string =>
    atoms.map(({ meets }) => (meets(value) ? '1' : '0')).join('')
  const parameters = attribute === 'path' && values.some((value) => value?.includes(';'))
  const labelOf = (value: Value): string => {
    if (value === undefined) return 'absent'
    if (!parameters || !value.includes(';')) return bits(value)
    return `${bits(value)} ${bits(withoutPathParameters(value))}`
  }
  let classes: ReadonlyMap<string, number> | undefined
  return (value) => {
    classes ??= new Map(values.map((one, at) => [labelOf(one), at]))
    return classes.get(labelOf(value))
  }
}

function wordsOf(
  attribute: AttributeId,
  values: readonly Value[],
  atoms: readonly Atom[],
): readonly Word[] {
  const missing = attribute === 'peer' ? 'presents no certificate' : 'is absent'
  const absent: Atom = { phrase: missing, meets: (value) => value === undefined }
  const parameters: Atom = {
    phrase: 'has path parameters (;)',
    meets: (value) => value !== undefined && withoutPathParameters(value) !== value,
  }
  const own = attribute === 'path' ? [parameters] : [absent]
  const byPhrase = Map.groupBy([...atoms, ...own], ({ phrase }) => phrase)
  return [...byPhrase].flatMap(([phrase, same]): readonly Word[] => {
    const sets = new Map(same.map((atom) => [membersOf(atom, values).join(), atom]))
    const alternatives = same.every(({ pattern }) => pattern !== undefined)
    // What the two sides mean differently is no word for people.
    if (sets.size > 1 && !alternatives) return []
    const members = new Set(same.flatMap((atom) => membersOf(atom, values)))
    const exact = same[0]?.exact
    return [{ phrase, members, ...(exact === undefined ? {} : { exact }) }]
  })
}

function membersOf({ meets }: Atom, values: readonly Value[]): readonly number[] {
  return values.flatMap((value, at) => (meets(value) ? [at] : []))
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
