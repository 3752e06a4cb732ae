/**
 * The plain part of YAML, quickly: what manifests are written in nearly always. `js-yaml` reads it in a tenth of
 * the time that `yaml` takes, which remembers where everything stands. This is no second opinion on what YAML
 * means: only what leaves no room for one is read here, and whatever has anchors, aliases, tags, directives, tabs,
 * carriage returns, block scalars, values over several lines, a key twice or one that is no text, `__proto__`, a
 * word that might be a number in some notation, or a fault is left, whole, to the `yaml` package. Its test holds
 * that what is read here is what that package reads, value by value.
 */
import {
  constructFromEvents,
  defineScalarTag,
  type Event,
  EVENT_ID,
  FAILSAFE_SCHEMA,
  NOT_RESOLVED,
  parseEvents,
  SCALAR_STYLE,
} from 'js-yaml'

/** A document that has content. */
export interface PlainDocument {
  /** Where its content begins, from 1. */
  readonly line: number
  readonly value: unknown
}

/** Every document of `text` that has content; `undefined`: some of it is not plain. */
export function readPlainYaml(text: string): readonly PlainDocument[] | undefined {
  if (NEVER_PLAIN.test(text)) return undefined
  try {
    const events = parseEvents(text, { maxDepth: MAX_PLAIN_DEPTH })
    const starts = startsOf(events, text)
    if (starts === undefined) return undefined
    const values = constructFromEvents(events, { source: text, schema: PLAIN_SCHEMA })
    return withLines(text, starts, values)
  } catch {
    // Whatever is wrong with it, `yaml` says what, and where.
    return undefined
  }
}

/** What neither prints as ASCII nor is a letter or sign of another script, without their blanks; and other marks than `---`. */
const NEVER_PLAIN =
  /[^\n\u0020-\u007e\u00a1-\u1fff\u2010-\u2027\u2030-\u205e\u2070-\u2fff\u3001-\ud7ff]|^(?:\.\.\.|---[^\n])/m

/** Levels of collections; far below what `readDocuments` refuses. */
const MAX_PLAIN_DEPTH = 24

/** Words that are a value in some spelling. */
const NAMED = /^(?:null|true|false|~)?$/i
const VALUES: ReadonlyMap<string, unknown> = new Map([
  ['null', null],
  ['true', true],
  ['false', false],
  ['', null],
])
/** Digits that are surely this number in tens. */
const WHOLE = /^(?:0|[1-9][0-9]{0,14})$/
/** What may be a number in some notation or other. */
const NUMERIC =
  /^[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?(?:e[-+]?[0-9_]*)?|\.[0-9_]+(?:e[-+]?[0-9_]*)?|0[xob][0-9a-f_]*|\.inf|\.nan)$/i

const plainWord = defineScalarTag<unknown>('tag:redoubt.io,2026:word', {
  implicit: true,
  identify: () => false,
  resolve(word) {
    if (WHOLE.test(word)) return Number(word)
    if (VALUES.has(word)) return VALUES.get(word)
    if (NAMED.test(word) || NUMERIC.test(word)) throw new Error('it might be a value')
    return NOT_RESOLVED
  },
})

const PLAIN_SCHEMA = FAILSAFE_SCHEMA.withTags(plainWord)

/** A key that is a text, whoever reads it. */
const KEY = /^[A-Za-z_$][\w./$-]{0,255}$/

/** Where the content of each document begins; `undefined`: something in them is not plain. */
function startsOf(events: readonly Event[], text: string): readonly number[] | undefined {
  const starts: number[] = []
  /** Of each collection that is open, the entries so far; of a list `undefined`. */
  const open: (number | undefined)[] = []
  for (const [at, event] of events.entries()) {
    if (event.type === EVENT_ID.POP) {
      open.pop()
      continue
    }
    if (!isPlain(event, text)) return undefined
    if (event.type === EVENT_ID.DOCUMENT) {
      const root = events[at + 1]
      if (root?.type !== EVENT_ID.MAPPING) return undefined
      starts.push(root.start)
      open.push(undefined)
      continue
    }
    const entries = open.at(-1)
    if (entries !== undefined) {
      open[open.length - 1] = entries + 1
      if (entries % 2 === 0 && !isPlainKey(event, text)) return undefined
    }
    if (event.type !== EVENT_ID.SCALAR) {
      open.push(event.type === EVENT_ID.MAPPING ? 0 : undefined)
    }
  }
  return starts
}

const NOWHERE = -1

function isPlain(event: Event, text: string): boolean {
  if (event.type === EVENT_ID.DOCUMENT) return event.directives.length === 0 && !event.explicitEnd
  if (event.type === EVENT_ID.ALIAS || event.type === EVENT_ID.POP) return false
  if (event.anchorStart !== NOWHERE || event.tagStart !== NOWHERE) return false
  return event.type !== EVENT_ID.SCALAR || isOnOneLine(event, text)
}

type Scalar = Extract<Event, { type: typeof EVENT_ID.SCALAR }>

function isOnOneLine({ style, valueStart, valueEnd }: Scalar, text: string): boolean {
  if (style === SCALAR_STYLE.LITERAL_BLOCK || style === SCALAR_STYLE.FOLDED_BLOCK) return false
  return !text.slice(valueStart, valueEnd).includes('\n')
}

function isPlainKey(event: Event, text: string): boolean {
  if (event.type !== EVENT_ID.SCALAR) return false
  const key = text.slice(event.valueStart, event.valueEnd)
  return KEY.test(key) && !NAMED.test(key) && key !== '__proto__'
}

function withLines(
  text: string,
  starts: readonly number[],
  values: readonly unknown[],
): readonly PlainDocument[] {
  let line = 1
  let counted = 0
  return values.map((value, index) => {
    const start = starts[index] ?? counted
    for (let at = text.indexOf('\n', counted); at !== -1 && at < start; ) {
      line += 1
      at = text.indexOf('\n', at + 1)
    }
    counted = start
    return { line, value }
  })
}
