/** An operator's model: Casbin's four or five sections, read strictly, with the line of what is wrong. */
import { DEFAULT_ATTRIBUTES, isAttribute } from './attributes.ts'
import type { TextFault } from './fault.ts'
import { type Matcher, readMatcher } from './matcher.ts'

/** A model that can be evaluated here. */
export interface OperatorModel {
  /** Fields of a request, in order, each with the attribute that it is. */
  readonly request: readonly { readonly field: string; readonly attribute: string }[]
  /** Columns of a policy line. */
  readonly policy: readonly string[]
  /** Role definitions, `g`, `g2`…, with their columns: 2, or 3 with a domain. */
  readonly roles: ReadonlyMap<string, number>
  readonly effect: string
  readonly matcher: Matcher
}

export type ModelReading =
  | { readonly kind: 'read'; readonly model: OperatorModel }
  | { readonly kind: 'faulty'; readonly faults: readonly TextFault[] }

const MAX_BYTES = 16_384
const SECTIONS: Readonly<Record<string, RegExp>> = {
  request_definition: /^r$/,
  policy_definition: /^p$/,
  role_definition: /^g\d?$/,
  policy_effect: /^e$/,
  matchers: /^m$/,
}
const NAME = /^[A-Za-z_]\w{0,63}$/

/** Effects that answer no when nothing matches. */
const EFFECTS: readonly string[] = [
  'some(where (p.eft == allow))',
  'some(where (p.eft == allow)) && !some(where (p.eft == deny))',
  'priority(p.eft) || deny',
]

interface Entry {
  readonly section: string
  readonly key: string
  readonly value: string
  readonly line: number
}

/** @param written - attributes by field of the request definition; others have {@link DEFAULT_ATTRIBUTES} */
export function readOperatorModel(
  text: string,
  written: Readonly<Record<string, string>> = {},
): ModelReading {
  const faults: TextFault[] = []
  if (text.length > MAX_BYTES) {
    return {
      kind: 'faulty',
      faults: [{ line: 1, message: `it is longer than ${MAX_BYTES} characters` }],
    }
  }
  const entries = readEntries(text, faults)
  const find = (section: string, key: string): Entry | undefined =>
    entries.find((entry) => entry.section === section && entry.key === key)
  const [r, p] = [find('request_definition', 'r'), find('policy_definition', 'p')]
  const [e, m] = [find('policy_effect', 'e'), find('matchers', 'm')]
  for (const [entry, what] of [
    [r, '[request_definition] with r = …'],
    [p, '[policy_definition] with p = …'],
    [e, '[policy_effect] with e = …'],
    [m, '[matchers] with m = …'],
  ] as const) {
    if (entry === undefined) faults.push({ line: 1, message: `it has no ${what}` })
  }
  if (!r || !p || !e || !m) return { kind: 'faulty', faults }
  const roles = readRoles(entries, faults)
  const policy = fieldsOf(p, faults)
  const request = fieldsOf(r, faults).map((field) => attributeOf(field, written, r.line, faults))
  const effect = e.value.replace(/\s+/g, ' ')
  if (!EFFECTS.includes(effect)) faults.push(effectFault(effect, e.line))
  const whole = request.flatMap((one) => (one.attribute === 'request' ? [one.field] : []))
  const vocabulary = { request: request.map(({ field }) => field), whole, policy, roles }
  const matcher = readMatcher(m.value, vocabulary)
  if (matcher.kind === 'refused') {
    const { message, hint } = matcher
    faults.push({ line: m.line, message, ...(hint === undefined ? {} : { hint }) })
  }
  if (faults.length > 0 || matcher.kind === 'refused') return { kind: 'faulty', faults }
  return { kind: 'read', model: { request, policy, roles, effect, matcher: matcher.matcher } }
}

/** Lines `key = value` under their section; a `\` at the end goes on with the next line. */
function readEntries(text: string, faults: TextFault[]): readonly Entry[] {
  const entries: Entry[] = []
  let section = ''
  let held = ''
  let from = 1
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = held === '' ? index + 1 : from
    const whole = held + withoutComment(raw)
    if (whole.endsWith('\\')) {
      held = `${whole.slice(0, -1)} `
      from = line
      continue
    }
    held = ''
    const trimmed = whole.trim()
    if (trimmed === '') continue
    const header = /^\[(\w+)\]$/.exec(trimmed)?.[1]
    if (header !== undefined) section = openSection(header, line, faults)
    else readEntry(trimmed, { section, line }, entries, faults)
  }
  return entries
}

/** `#` begins a comment, outside of quotes. */
function withoutComment(raw: string): string {
  const found = /^(?:[^#"']|"[^"]*"|'[^']*')*#/.exec(raw)
  return (found === null ? raw : found[0].slice(0, -1)).trimEnd()
}

function openSection(header: string, line: number, faults: TextFault[]): string {
  if (!Object.hasOwn(SECTIONS, header)) {
    const hint = `known: ${Object.keys(SECTIONS).join(', ')}`
    faults.push({ line, message: `the section [${header}] is not known`, hint })
  }
  return header
}

function readEntry(
  text: string,
  { section, line }: Pick<Entry, 'section' | 'line'>,
  entries: Entry[],
  faults: TextFault[],
): void {
  const [, key = '', value = ''] = /^(\w+)\s*=\s*(.+)$/s.exec(text) ?? []
  if (key === '')
    return void faults.push({
      line,
      message: `found ${JSON.stringify(text)}, expected key = value`,
    })
  if (SECTIONS[section]?.test(key) === false) {
    const hint = 'a model has one r, p, e and m, and any of g, g2 to g9'
    return void faults.push({ line, message: `${key} has no meaning in [${section}]`, hint })
  }
  if (entries.some((other) => other.section === section && other.key === key)) {
    return void faults.push({ line, message: `${key} is there twice` })
  }
  entries.push({ section, key, value, line })
}

function fieldsOf({ key, value, line }: Entry, faults: TextFault[]): readonly string[] {
  const names = value.split(',').map((name) => name.trim())
  for (const name of names) {
    if (!NAME.test(name))
      faults.push({ line, message: `${JSON.stringify(name)} of ${key} is no name` })
  }
  if (new Set(names).size < names.length) faults.push({ line, message: `${key} has a name twice` })
  return names
}

function readRoles(entries: readonly Entry[], faults: TextFault[]): ReadonlyMap<string, number> {
  const roles = new Map<string, number>()
  for (const { section, key, value, line } of entries) {
    if (section !== 'role_definition') continue
    const columns = value.split(',').map((part) => part.trim())
    if (columns.some((part) => part !== '_') || columns.length < 2 || columns.length > 3) {
      const message = `found ${key} = ${value}, expected ${key} = _, _ or, with a domain, _, _, _`
      faults.push({ line, message })
    }
    roles.set(key, columns.length)
  }
  return roles
}

function attributeOf(
  field: string,
  written: Readonly<Record<string, string>>,
  line: number,
  faults: TextFault[],
): OperatorModel['request'][number] {
  const own = Object.hasOwn(written, field) ? written[field] : undefined
  const attribute =
    own ?? (Object.hasOwn(DEFAULT_ATTRIBUTES, field) ? DEFAULT_ATTRIBUTES[field] : undefined)
  if (attribute === undefined || !isAttribute(attribute)) {
    const hint = `say what it is in spec.request, such as ${field}: request.headers[x-${field}]`
    faults.push({ line, message: `the field ${field} of r is no attribute of a request`, hint })
  }
  return { field, attribute: attribute ?? '' }
}

function effectFault(effect: string, line: number): TextFault {
  const isOpen = effect === '!some(where (p.eft == deny))'
  const hint = isOpen
    ? `it allows everything while no line denies: use "${EFFECTS[1]}"`
    : `supported: ${EFFECTS.map((one) => JSON.stringify(one)).join(', ')}`
  return { line, message: `the effect ${JSON.stringify(effect)} is not supported`, hint }
}
