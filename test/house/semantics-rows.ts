/**
 * What the specification of authorization asks, row by row: rows of tables, points of lists, and the
 * sections that have neither.
 */

/** One thing that some test must hold. */
export interface SemanticsRow {
  /** As titles of tests write it: `§1.4 row 3`, `§0.8.9`, `§0.6`. */
  readonly id: string
  /** How it begins, so that a list of them can be read. */
  readonly text: string
}

const SECTION = /^## (\d+\.\d+) (.*)$/
const TABLE_LINE = /^\|(.*)\|\s*$/
const TABLE_RULE = /^\|[\s:|-]+\|\s*$/
const POINT = /^(?:(\d+)\. |\* )(.*)$/
const PURPOSE = /^\*\*Where we differ on purpose\*\*/
const MAX_TEXT = 70

/** Reads the rows of sections 0 to 3 out of the reference's text. */
export function readSemanticsRows(markdown: string): readonly SemanticsRow[] {
  const rows: SemanticsRow[] = []
  let section: { number: string; title: string; count: number } | undefined
  const lines = markdown.split('\n')
  const close = (): void => {
    if (section?.count === 0) rows.push({ id: `§${section.number}`, text: section.title })
  }
  for (const [at, line] of lines.entries()) {
    if (line.startsWith('# ')) {
      close()
      section = undefined
    }
    const [, number = '', title = ''] = SECTION.exec(line) ?? []
    if (number !== '') {
      close()
      section = /^[0-3]\./.test(number) ? { number, title, count: 0 } : undefined
    }
    const text = section && rowText(line, lines[at + 1] ?? '')
    if (section === undefined || text === undefined) continue
    section.count += 1
    const id = idOf(section, line)
    rows.push({ id, text: plain(text) })
  }
  close()
  return rows
}

function idOf({ number, count }: { number: string; count: number }, line: string): string {
  if (number !== '0.8') return `§${number} row ${count}`
  return PURPOSE.test(line) ? '§0.8 on purpose' : `§0.8.${POINT.exec(line)?.[1]}`
}

/** The text of a line that is a row; a table's head, which a rule follows, is none. */
function rowText(line: string, next: string): string | undefined {
  if (PURPOSE.test(line)) return line
  if (TABLE_LINE.test(line)) {
    return TABLE_RULE.test(line) || TABLE_RULE.test(next) ? undefined : TABLE_LINE.exec(line)?.[1]
  }
  return POINT.exec(line)?.[2]
}

function plain(text: string): string {
  const words = text
    .replaceAll(/`|\*\*(?=[A-Za-z])|(?<=[a-z])\*\*/g, '')
    .replaceAll(/\s+/g, ' ')
    .trim()
  return words.length > MAX_TEXT ? `${words.slice(0, MAX_TEXT)}…` : words
}
