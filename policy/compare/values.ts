/** The values of one attribute, one of each class that what policies write tells apart. */
import { headerValues, KNOWN_METHODS } from '../model/index.ts'
import { addressClasses } from './address-classes.ts'
import {
  AUTHORITY,
  CLAIM_TEXT,
  HEADER_VALUE,
  identityGrammar,
  pathGrammar,
  SERVER_NAME,
} from './grammar.ts'
import { type Atom, type AttributeId, claimShape } from './literal.ts'
import type { Pattern } from './pattern.ts'
import type { Dimension, Scope, Value } from './space.ts'
import { type TextClasses, textClasses } from './text-classes.ts'

/** What an example has where it can. */
const FAMILIAR_METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH']
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/i

/** Texts stand in `values` from `offset`. */
export interface Texts extends TextClasses {
  readonly offset: number
}

/** What an attribute can be. */
export interface Values extends Pick<Dimension, 'many' | 'values'> {
  readonly texts?: Texts
}

/** One value of each class that `atoms` make, plain ones first. */
export function valuesOf(attribute: AttributeId, atoms: readonly Atom[], scope: Scope): Values {
  const patterns = atoms.flatMap(({ pattern }) => pattern ?? [])
  const one = (...values: readonly Value[]): Values => ({ many: false, values })
  switch (attribute) {
    case 'entry':
      return one(...scope.entries)
    case 'peer':
      return among(textClasses(patterns, identityGrammar(scope.trustDomains)), 'last')
    case 'method':
      return one(...distinct([...FAMILIAR_METHODS, ...KNOWN_METHODS], atoms))
    case 'token':
      return one(undefined, ...scope.tokens.map(({ id }) => id))
    case 'path': {
      const { parameters, pathNormalization } = scope
      const grammar = pathGrammar(pathNormalization, parameters)
      return among(textClasses(patterns, grammar, { parameters }), 'never')
    }
    case 'host':
      return among(textClasses(patterns, AUTHORITY), 'first')
    case 'sni':
      return among(textClasses(patterns, SERVER_NAME), 'first')
    case 'sourceIp':
    case 'destinationIp':
    case 'remoteIp': {
      const blocks = atoms.flatMap(({ name }) => name ?? [])
      return one(...distinct(addressClasses(blocks), atoms))
    }
    default:
      return attribute.startsWith('claim:')
        ? claimClasses(attribute, patterns)
        : headerClasses(attribute.slice('header:'.length), patterns)
  }
}

/** A token that has a list where RFC 7519 §4.1 wants one text is refused: nobody sees its claims. */
function claimClasses(attribute: AttributeId, patterns: readonly Pattern[]): Values {
  const shape = claimShape(attribute)
  if (shape === 'never') return { many: false, values: [undefined] }
  const classes = textClasses(patterns, CLAIM_TEXT)
  return shape === 'text' ? among(classes, 'first') : { ...among(classes, 'never'), many: true }
}

/** Texts, and the absence of one. */
function among(texts: TextClasses, absent: 'first' | 'last' | 'never'): Values {
  const none = absent === 'never' ? [] : [undefined]
  const values = absent === 'first' ? [...none, ...texts.texts] : [...texts.texts, ...none]
  return { many: false, values, texts: { ...texts, offset: absent === 'first' ? 1 : 0 } }
}

/** Some headers are one value however many lines they have; a name that is none is never there. */
function headerClasses(name: string, patterns: readonly Pattern[]): Values {
  if (!TOKEN.test(name)) return { many: false, values: [undefined] }
  const classes = textClasses(patterns, HEADER_VALUE)
  const joins = headerValues(name, ['a', 'b']).length === 1
  return joins ? among(classes, 'first') : { ...among(classes, 'never'), many: true }
}

/** The first of each class. */
function distinct(values: readonly string[], atoms: readonly Atom[]): readonly string[] {
  const first = new Map<string, string>()
  for (const value of values) {
    const label = bitsOf(value, atoms)
    if (!first.has(label)) first.set(label, value)
  }
  return [...first.values()]
}

function bitsOf(value: Value, atoms: readonly Atom[]): string {
  return atoms.map(({ meets }) => (meets(value) ? '1' : '0')).join('')
}

/** See {@link Dimension.members}. */
export function createMembers(
  values: readonly Value[],
  texts: Texts | undefined,
): Dimension['members'] {
  const known = new Map<unknown, readonly number[]>()
  const find = ({ pattern, strippedOf, meets }: Atom): readonly number[] => {
    if (texts === undefined || pattern === undefined) {
      return values.flatMap((value, at) => (meets(value) ? [at] : []))
    }
    const by = strippedOf === undefined ? texts.members : texts.strippedMembers
    return (by.get(pattern.key) ?? []).map((at) => at + texts.offset)
  }
  return (atom) => {
    const { pattern, strippedOf, meets } = atom
    const key =
      pattern === undefined ? meets : `${strippedOf === undefined ? '' : ';'}${pattern.key}`
    const found = known.get(key) ?? find(atom)
    known.set(key, found)
    return found
  }
}

/** See {@link Dimension.classOf}. */
export function createClassOf(
  values: readonly Value[],
  atoms: readonly Atom[],
  texts: Texts | undefined,
): Dimension['classOf'] {
  let classes: ReadonlyMap<string, number> | undefined
  const absent = values.indexOf(undefined)
  return (value) => {
    if (value === undefined) return absent === -1 ? undefined : absent
    if (texts !== undefined) {
      const at = texts.classOf(value)
      return at === undefined ? undefined : at + texts.offset
    }
    classes ??= new Map(values.map((one, at) => [bitsOf(one, atoms), at]))
    return classes.get(bitsOf(value, atoms))
  }
}
