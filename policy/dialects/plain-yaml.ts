/**
 * The plain part of YAML, quickly: what manifests are written in nearly always. `js-yaml` reads it in a tenth of
 * the time that `yaml` takes, which remembers where everything stands. This is no second opinion on what YAML
 * means: only what leaves no room for one is read here, and whatever has anchors, aliases, tags, directives, tabs,
 * carriage returns, block scalars, values over several lines, a key twice or one that is no text, `__proto__`, a
 * word that might be a number in some notation, or a fault is left, whole, to the `yaml` package. Its test holds
 * that what is read here is what that package reads, value by value.
 */
import { type Event, EVENT_ID, getScalarValue, parseEvents, SCALAR_STYLE } from 'js-yaml'

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
    return withLines(text, documentsOf(text, events))
  } catch {
    // Whatever is wrong with it, `yaml` says what, and where.
    return undefined
  }
}

/**
 * What neither prints as ASCII nor is a letter or sign of another script, without their blanks; other marks than
 * `---`, or one behind blanks; directives; and comments at the start of a line that goes on inside brackets, which `yaml` takes for a fault.
 */
const NEVER_PLAIN =
  /[^\n\u0020-\u007e\u00a1-\u1fff\u2010-\u2027\u2030-\u205e\u2070-\u2fff\u3001-\ud7ff]|^(?:\.\.\.|---[^\n]|#[^\n]*\n\s*[,:\]}]| *%| +---)/m

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
/** What starts like none of these, nor like a number. */
const SURELY_TEXT = /^[^-+.0-9~nNtTfF]/
/** Digits that are surely this number in tens. */
const WHOLE = /^(?:0|[1-9][0-9]{0,14})$/
/** What may be a number in some notation or other. */
const NUMERIC =
  /^[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?(?:e[-+]?[0-9_]*)?|\.[0-9_]+(?:e[-+]?[0-9_]*)?|0[xob][0-9a-f_]*|\.inf|\.nan)$/i

/** What a plain word means. */
function meaningOf(word: string): unknown {
  // Nearly every word starts with a letter that none of the others has.
  if (SURELY_TEXT.test(word)) return word
  if (WHOLE.test(word)) return Number(word)
  if (VALUES.has(word)) return VALUES.get(word)
  if (NAMED.test(word) || NUMERIC.test(word)) leave()
  return word
}

/** A key that is a text, whoever reads it. */
const KEY = /^[A-Za-z_$][\w./$-]{0,255}$/

/** Not a fault: it is for `yaml` to say what it is. */
function leave(): never {
  throw new Error('it is not plain')
}

interface Placed {
  /** Where the content begins. */
  readonly start: number
  readonly value: unknown
}

/**
 * What the documents of `text` say.
 *
 * @throws {Error} something in them is not plain
 */
function documentsOf(text: string, events: readonly Event[]): readonly Placed[] {
  let at = 0
  const next = (): Event => {
    const event = events[at]
    at += 1
    if (event === undefined) leave()
    return event
  }
  const read = (event: Event): unknown => {
    refuseProperties(event)
    if (event.type === EVENT_ID.SCALAR) return scalarOf(text, event)
    if (event.type === EVENT_ID.SEQUENCE) {
      const list: unknown[] = []
      for (let one = next(); one.type !== EVENT_ID.POP; one = next()) list.push(read(one))
      return list
    }
    const map: Record<string, unknown> = {}
    for (let one = next(); one.type !== EVENT_ID.POP; one = next()) {
      const key = keyOf(text, one)
      if (Object.hasOwn(map, key)) leave()
      map[key] = read(next())
    }
    return map
  }
  const documents: Placed[] = []
  while (at < events.length) {
    const document = next()
    const root = next()
    if (document.type !== EVENT_ID.DOCUMENT || root.type !== EVENT_ID.MAPPING) leave()
    if (document.directives.length > 0 || document.explicitEnd) leave()
    documents.push({ start: root.start, value: read(root) })
    at += 1
  }
  return documents
}

const NOWHERE = -1

type Node = Extract<Event, { readonly tagStart: number }>
type Scalar = Extract<Event, { readonly valueStart: number }>

function refuseProperties(event: Event): asserts event is Node {
  if (
    event.type === EVENT_ID.POP ||
    event.type === EVENT_ID.ALIAS ||
    event.type === EVENT_ID.DOCUMENT
  )
    leave()
  if (event.anchorStart !== NOWHERE || event.tagStart !== NOWHERE) leave()
}

function scalarOf(text: string, event: Scalar): unknown {
  const { style, valueStart, valueEnd } = event
  if (style === SCALAR_STYLE.LITERAL_BLOCK || style === SCALAR_STYLE.FOLDED_BLOCK) leave()
  if (event.fast) {
    const written = text.slice(valueStart, valueEnd)
    return style === SCALAR_STYLE.PLAIN ? meaningOf(written) : written
  }
  if (text.slice(valueStart, valueEnd).includes('\n')) leave()
  const value = getScalarValue(text, event)
  return style === SCALAR_STYLE.PLAIN ? meaningOf(value) : value
}

function keyOf(text: string, event: Event): string {
  refuseProperties(event)
  if (event.type !== EVENT_ID.SCALAR) leave()
  const key = text.slice(event.valueStart, event.valueEnd)
  if (!KEY.test(key) || NAMED.test(key) || key === '__proto__') leave()
  return key
}

function withLines(text: string, documents: readonly Placed[]): readonly PlainDocument[] {
  let line = 1
  let counted = 0
  return documents.map(({ start, value }) => {
    for (let at = text.indexOf('\n', counted); at !== -1 && at < start; ) {
      line += 1
      at = text.indexOf('\n', at + 1)
    }
    counted = start
    return { line, value }
  })
}
