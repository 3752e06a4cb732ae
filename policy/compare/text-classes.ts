/**
 * Which texts some patterns tell apart: one text for each set of patterns that a text can match.
 *
 * All patterns are followed at once through every text of the grammar, shortest first. Two texts that
 * leave the grammar and every pattern in the same place go on alike, so each such place is looked at
 * once, and the walk ends.
 */
import { PolicyError } from '../error.ts'
import { isAmbiguousPath, withoutPathParameters } from '../model/index.ts'
import { type Automaton, createAutomaton, type State } from './automaton.ts'
import { type Grammar, parametersOf } from './grammar.ts'
import type { Pattern } from './pattern.ts'

/** Places beyond which a policy set is not compared: some seconds and 200 MB. */
export const MAX_PLACES = 300_000

/** The classes of an attribute's texts. */
export interface TextClasses {
  /** One text a class, shortest first. */
  readonly texts: readonly string[]
  /** By pattern's key: the classes that it matches. */
  readonly members: ReadonlyMap<string, readonly number[]>
  /** The same of texts without their path parameters. */
  readonly strippedMembers: ReadonlyMap<string, readonly number[]>
  /** The class of a text; `undefined` for one that cannot be. */
  readonly classOf: (text: string) => number | undefined
}

interface Place {
  /** Of the grammar. */
  readonly state: string
  /** Which of the grammar's beginnings it has. */
  readonly start: number
  readonly whole: State
  /** The text without path parameters, once it differs. */
  readonly stripped: State | undefined
  readonly before: Place | undefined
  readonly text: string
}

/**
 * The classes that `patterns` make among the texts of `grammar`.
 *
 * @param options.parameters - a class also says what the text without its path parameters matches
 * @throws {PolicyError} `POLICY_LIMIT`
 */
export function textClasses(
  patterns: readonly Pattern[],
  grammar: Grammar,
  options: { readonly parameters?: boolean } = {},
): TextClasses {
  const { parameters = false } = options
  const automaton = createAutomaton(patterns)
  const step = remembered(grammar.step)
  const found = new Map<string, Place>()
  const seen = new Set<string>()
  const queue: Place[] = []
  const add = (place: Place): void => {
    const key = keyOf(place)
    if (seen.has(key)) return
    if (seen.size >= MAX_PLACES) throw tooMany(patterns.length)
    seen.add(key)
    queue.push(place)
    if (!grammar.ends(place.state)) return
    const label = labelOf(place)
    if (!found.has(label)) found.set(label, place)
  }
  for (const [start, { text, state }] of grammar.starts.entries()) {
    const whole = follow(automaton, text)
    add({ state, start, whole, stripped: undefined, before: undefined, text })
  }
  for (let at = 0; at < queue.length; at += 1) {
    const place = queue[at]
    if (place === undefined) break
    for (const char of charsAfter(place, grammar)) {
      const state = step(place.state, char)
      if (state !== undefined) add(goOn(automaton, place, { state, char, parameters }))
    }
  }
  return classesOf([...found.values()], patterns, (text) => {
    const place = placeOf(text, grammar, automaton, parameters)
    return place && labelOf(place)
  })
}

function goOn(
  { step }: Automaton,
  place: Place,
  { state, char, parameters }: { state: string; char: string; parameters: boolean },
): Place {
  let { stripped } = place
  if (parameters) {
    if (parametersOf(state).inParameters) stripped ??= place.whole
    else if (stripped !== undefined) stripped = step(stripped, char)
  }
  const whole = step(place.whole, char)
  return { state, start: place.start, whole, stripped, before: place, text: char }
}

function follow({ start, step }: Automaton, text: string): State {
  let at = start
  for (const char of text.split('')) at = step(at, char)
  return at
}

/** Characters that anything tells apart here, and of the others one a kind. */
function charsAfter(
  { whole, stripped }: Place,
  { fresh, structural }: Grammar,
): ReadonlySet<string> {
  const isNamed = (char: string): boolean =>
    structural.includes(char) || whole.chars.has(char) || stripped?.chars.has(char) === true
  const others = [false, true].map((isBracket) => {
    for (const char of fresh) if ('[]'.includes(char) === isBracket && !isNamed(char)) return char
    return ''
  })
  return new Set(
    [...others, ...structural.split(''), ...whole.chars, ...(stripped?.chars ?? [])].filter(
      Boolean,
    ),
  )
}

function remembered(step: Grammar['step']): Grammar['step'] {
  const known = new Map<string, Map<string, string | undefined>>()
  return (state, char) => {
    const row = known.get(state) ?? new Map<string, string | undefined>()
    known.set(state, row)
    if (!row.has(char)) row.set(char, step(state, char))
    return row.get(char)
  }
}

function keyOf({ state, start, whole, stripped }: Place): string {
  return `${state}#${start}#${whole.id}#${stripped?.id ?? ''}`
}

interface Matched {
  readonly start: number
  readonly whole: State
  readonly stripped: State | undefined
  readonly isAmbiguous: boolean
}

/** What tells a class: its beginning, and the patterns that match it, and it without parameters. */
function labelOf(place: Place | Matched): string {
  const { start, whole, stripped } = place
  const matched = `${start}:${whole.matched.join()}`
  if (stripped === undefined) return matched
  const isAmbiguous =
    'isAmbiguous' in place ? place.isAmbiguous : parametersOf(place.state).ambiguous
  return `${matched}#${stripped.matched.join()}#${isAmbiguous ? 'ambiguous' : ''}`
}

function placeOf(
  text: string,
  { starts }: Grammar,
  automaton: Automaton,
  parameters: boolean,
): Matched | undefined {
  const start = starts.findIndex((one) => text.startsWith(one.text))
  if (start === -1) return undefined
  const hasParameters = parameters && text.includes(';')
  return {
    start,
    whole: follow(automaton, text),
    stripped: hasParameters ? follow(automaton, withoutPathParameters(text)) : undefined,
    isAmbiguous: hasParameters && isAmbiguousPath(text),
  }
}

function classesOf(
  places: readonly Place[],
  patterns: readonly Pattern[],
  label: (text: string) => string | undefined,
): TextClasses {
  const members = new Map<string, number[]>()
  const strippedMembers = new Map<string, number[]>()
  const add = (map: Map<string, number[]>, { matched }: State, at: number): void => {
    for (const index of matched) {
      const key = patterns[index]?.key ?? ''
      const list = map.get(key) ?? []
      list.push(at)
      map.set(key, list)
    }
  }
  for (const [at, { whole, stripped = whole }] of places.entries()) {
    add(members, whole, at)
    add(strippedMembers, stripped, at)
  }
  const classes = new Map(places.map((place, at) => [labelOf(place), at]))
  const classOf = (text: string): number | undefined => classes.get(label(text) ?? '')
  return { texts: places.map(textOf), members, strippedMembers, classOf }
}

function textOf(place: Place): string {
  const parts: string[] = []
  for (let at: Place | undefined = place; at !== undefined; at = at.before) parts.push(at.text)
  return parts.reverse().join('')
}

function tooMany(patterns: number): PolicyError {
  return new PolicyError(
    'POLICY_LIMIT',
    `Cannot compare: ${patterns} patterns of one attribute tell apart more than ${MAX_PLACES} places, too many`,
  )
}
