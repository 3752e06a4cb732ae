/**
 * What a policy wrote, as a row of pieces that a text is held against character by character. All
 * notations (§1.4–§1.6) are such rows, so one walk can follow any number of them at once.
 */

/** One character, one of a kind, or any number of a kind. */
export type Piece =
  | { readonly is: 'char'; readonly char: string }
  | { readonly is: 'one' | 'any'; readonly covers: Covers }

/** A kind of characters; one function a kind. */
export type Covers = (char: string) => boolean

/** A written value of a text attribute. */
export interface Pattern {
  /** Two patterns with one key match the same texts. */
  readonly key: string
  /** Completes "the path …" for people. */
  readonly phrase: string
  /** For "is none of …"; set when the pattern is one text. */
  readonly exact?: string
  readonly pieces: readonly Piece[]
  /** Compared without regard to case. */
  readonly folds: boolean
}

/** Every character. */
export const ANYTHING: Covers = () => true
const isNotSlash: Covers = (char) => char !== '/'
const isPathChar = (char: string): boolean => /[A-Za-z0-9\-._~%!$&'()*+,;:@=]/.test(char)
const isPathText = (char: string): boolean => char === '/' || isPathChar(char)

/** `*`, `*text`, `text*`, or the text itself. @param present - what `*` wants: any text, or one that is not empty */
export function generalPattern(
  written: string,
  { present = 'not-empty', before = '', folds = false }: GeneralOptions = {},
): Pattern {
  const text = folds ? written.toLowerCase() : written
  const quoted = JSON.stringify(written)
  if (written === '*') {
    const rest = present === 'any' ? star() : [{ is: 'one' as const, covers: ANYTHING }, ...star()]
    return patternOf('is given', [...literal(before), ...rest], { folds })
  }
  if (text.startsWith('*')) {
    const end = text.slice(1)
    const pieces = [...literal(before), ...star(), ...literal(end)]
    return patternOf(`ends with ${JSON.stringify(written.slice(1))}`, pieces, { folds })
  }
  if (text.endsWith('*')) {
    const start = text.slice(0, -1)
    const pieces = [...literal(before), ...literal(start), ...star()]
    return patternOf(`begins with ${JSON.stringify(written.slice(0, -1))}`, pieces, { folds })
  }
  return patternOf(`is ${quoted}`, literal(before + text), { folds, exact: written })
}

interface GeneralOptions {
  readonly present?: 'any' | 'not-empty'
  /** Text that stands before the compared part. */
  readonly before?: string
  readonly folds?: boolean
}

/** One text and no other, stars included. */
export function exactPattern(text: string): Pattern {
  return patternOf(`is ${JSON.stringify(text)}`, literal(text), { exact: text })
}

/** `start` and whatever follows; a star in it is a star. */
export function prefixPattern(start: string): Pattern {
  return patternOf(`begins with ${JSON.stringify(start)}`, [...literal(start), ...star()])
}

/** Text with `*` for any text, none included, that `covers` allows. */
export function globPattern(
  glob: string,
  phrase: string,
  covers: (char: string) => boolean = ANYTHING,
): Pattern {
  const pieces = glob
    .split('')
    .map((char): Piece => (char === '*' ? { is: 'any', covers } : { is: 'char', char }))
  return patternOf(phrase, pieces)
}

/** A trust domain's glob, which ends at the first slash, in an identity. */
export function trustDomainPattern(written: string): Pattern {
  const { pieces } = globPattern(written, '', isNotSlash)
  const phrase = `is of trust domain ${written}`
  return patternOf(phrase, [...literal('spiffe://'), ...pieces, ...literal('/'), ...star()])
}

/** A path template (§1.6). */
export function templatePattern(written: string): Pattern {
  const pieces = written.split(/(\{\*\*?\})/).flatMap((part): readonly Piece[] => {
    if (part === '{*}')
      return [
        { is: 'one', covers: isPathChar },
        { is: 'any', covers: isPathChar },
      ]
    return part === '{**}' ? [{ is: 'any', covers: isPathText }] : literal(part)
  })
  return patternOf(`fits ${written}`, pieces)
}

function literal(text: string): readonly Piece[] {
  return text.split('').map((char) => ({ is: 'char', char }))
}

function star(): readonly Piece[] {
  return [{ is: 'any', covers: ANYTHING }]
}

function patternOf(
  phrase: string,
  pieces: readonly Piece[],
  { folds = false, exact }: { readonly folds?: boolean; readonly exact?: string } = {},
): Pattern {
  const row = pieces.map((piece) => (piece.is === 'char' ? piece.char : `<${piece.is}>`)).join('')
  const key = `${folds ? 'folded ' : ''}${phrase}: ${row}`
  return { key, phrase, pieces, folds, ...(exact === undefined ? {} : { exact }) }
}

/** Whether `text` matches. */
export function matchesPattern({ pieces, folds }: Pattern, text: string): boolean {
  let places: readonly number[] = closed(pieces, [0])
  for (let at = 0; at < text.length && places.length > 0; at += 1) {
    const char = text.charAt(at)
    places = advance(pieces, places, folds ? char.toLowerCase() : char)
  }
  return places.includes(pieces.length)
}

function advance(
  pieces: readonly Piece[],
  places: readonly number[],
  char: string,
): readonly number[] {
  const next: number[] = []
  for (const at of places) {
    const piece = pieces[at]
    if (piece === undefined) continue
    if (piece.is === 'char') {
      if (piece.char === char) next.push(at + 1)
    } else if (piece.covers(char)) next.push(piece.is === 'one' ? at + 1 : at)
  }
  return next.length === 0 ? next : closed(pieces, next)
}

/** What may cover nothing is passed by. */
function closed(pieces: readonly Piece[], places: readonly number[]): readonly number[] {
  const all = new Set<number>()
  for (let at of places) {
    all.add(at)
    while (pieces[at]?.is === 'any') {
      at += 1
      all.add(at)
    }
  }
  return [...all]
}
