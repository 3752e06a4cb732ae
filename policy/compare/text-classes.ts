/**
 * Which texts some patterns tell apart: one text for each set of patterns that a text can match.
 *
 * All patterns are followed at once through every text of the grammar, shortest first. Two texts that
 * leave the grammar and every pattern in the same place go on alike, so each such place is looked at
 * once, and the walk ends.
 */
import { PolicyError } from '../error.ts'
import { type Grammar, parametersOf } from './grammar.ts'
import { advance, hasEnded, isCertain, type Pattern, type Progress, startOf } from './pattern.ts'

/** Places beyond which a policy set is not compared: some seconds and 200 MB. */
export const MAX_PLACES = 300_000

/** How far each pattern has come; those that cannot match any more are left out. */
interface Followed {
  readonly live: readonly (readonly [at: number, progress: Progress])[]
  /** Patterns that match whatever follows. */
  readonly certain: readonly number[]
}

interface Place {
  readonly state: string
  readonly whole: Followed
  /** The text without path parameters, once it differs. */
  readonly stripped: Followed | undefined
  readonly before: Place | undefined
  readonly text: string
}

/**
 * One text a class, shortest first.
 *
 * @param options.parameters - a class also says what the text without its path parameters matches
 * @throws {PolicyError} `POLICY_LIMIT`
 */
export function textClasses(
  patterns: readonly Pattern[],
  grammar: Grammar,
  options: { readonly parameters?: boolean } = {},
): readonly string[] {
  const { parameters = false } = options
  const chars = alphabetOf(patterns, grammar)
  const found = new Map<string, string>()
  const seen = new Set<string>()
  const queue: Place[] = []
  const add = (place: Place): void => {
    const key = keyOf(place)
    if (seen.has(key)) return
    if (seen.size >= MAX_PLACES) throw tooMany(patterns.length)
    seen.add(key)
    queue.push(place)
    const label = labelOf(place, patterns, parameters)
    if (grammar.ends(place.state) && !found.has(label)) found.set(label, textOf(place))
  }
  for (const { text, state } of grammar.starts) {
    let whole = open(patterns)
    for (const char of text.split('')) whole = follow(patterns, whole, char)
    add({ state, whole, stripped: undefined, before: undefined, text })
  }
  for (let at = 0; at < queue.length; at += 1) {
    const place = queue[at]
    if (place === undefined) break
    for (const char of chars) {
      const next = goOn(patterns, grammar, place, char, parameters)
      if (next !== undefined) add(next)
    }
  }
  return [...found.values()]
}

function goOn(
  patterns: readonly Pattern[],
  grammar: Grammar,
  place: Place,
  char: string,
  parameters: boolean,
): Place | undefined {
  const state = grammar.step(place.state, char)
  if (state === undefined) return undefined
  const whole = follow(patterns, place.whole, char)
  let { stripped } = place
  if (parameters) {
    if (parametersOf(state).inParameters) stripped ??= place.whole
    else if (stripped !== undefined) stripped = follow(patterns, stripped, char)
  }
  return { state, whole, stripped, before: place, text: char }
}

function open(patterns: readonly Pattern[]): Followed {
  return sorted(
    patterns,
    patterns.map((pattern, at) => [at, startOf(pattern)] as const),
    [],
  )
}

function follow(patterns: readonly Pattern[], { live, certain }: Followed, char: string): Followed {
  const next: (readonly [number, Progress])[] = []
  for (const [at, progress] of live) {
    const pattern = patterns[at]
    const moved = pattern && advance(pattern, progress, char)
    if (moved !== undefined && moved.length > 0) next.push([at, moved])
  }
  return sorted(patterns, next, certain)
}

function sorted(
  patterns: readonly Pattern[],
  live: Followed['live'],
  certain: readonly number[],
): Followed {
  const decided = live.filter(([at, progress]) => {
    const pattern = patterns[at]
    return pattern !== undefined && isCertain(pattern, progress)
  })
  if (decided.length === 0) return { live, certain }
  return {
    live: live.filter((one) => !decided.includes(one)),
    certain: [...certain, ...decided.map(([at]) => at)].sort((a, b) => a - b),
  }
}

function followedKey({ live, certain }: Followed): string {
  return `${live.map(([at, progress]) => `${at}:${progress.join()}`).join(';')}!${certain.join()}`
}

function keyOf({ state, whole, stripped }: Place): string {
  return `${state}#${followedKey(whole)}#${stripped === undefined ? '' : followedKey(stripped)}`
}

/** What tells a class: the patterns that match here, of the text and of the text without parameters. */
function labelOf(place: Place, patterns: readonly Pattern[], parameters: boolean): string {
  const matched = ({ live, certain }: Followed): string => {
    const ended = live.filter(([at, progress]) => {
      const pattern = patterns[at]
      return pattern !== undefined && hasEnded(pattern, progress)
    })
    return [...certain, ...ended.map(([at]) => at)].sort((a, b) => a - b).join()
  }
  const whole = matched(place.whole)
  if (place.stripped === undefined) return whole
  const ambiguous = parameters && parametersOf(place.state).ambiguous
  return `${whole}#${matched(place.stripped)}#${ambiguous ? 'ambiguous' : ''}`
}

function textOf(place: Place): string {
  const parts: string[] = []
  for (let at: Place | undefined = place; at !== undefined; at = at.before) parts.push(at.text)
  return parts.reverse().join('')
}

/** Characters that anything tells apart, and of the others one a kind. */
function alphabetOf(
  patterns: readonly Pattern[],
  { fresh, structural }: Grammar,
): readonly string[] {
  const named = new Set(`${structural}${patterns.map(({ chars }) => chars).join('')}`)
  const others = fresh.split('').filter((char) => !named.has(char))
  const kinds = [
    others.find((char) => !'[]'.includes(char)),
    others.find((char) => '[]'.includes(char)),
  ]
  return [...kinds.filter((char) => char !== undefined), ...named]
}

function tooMany(patterns: number): PolicyError {
  return new PolicyError(
    'POLICY_LIMIT',
    `Cannot compare: ${patterns} patterns of one attribute tell apart more than ${MAX_PLACES} places, too many`,
  )
}
