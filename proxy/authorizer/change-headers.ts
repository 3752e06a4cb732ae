/** What an authorizer's yes changes in the request and in its answer. */
import { FIELD, fieldOf } from '../http/field.ts'
import type { FieldBlock } from '../http/field-block.ts'
import type { RequestHead } from '../http/request-head.ts'
import type { ResponseHead } from '../http/response-head.ts'
import { serializeRequest } from '../http/serialize.ts'
import { isCarried, readHead } from './http-check.ts'
import type { Changes, HeaderEdit } from './question.ts'

const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/
/** RFC 9110 §5.5, as latin1: a value that cannot end its line. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

/** Where nothing is in the way of a value (RFC 3986 §3.4): all else is escaped. */
const NOT_IN_QUERY = /[^!$'()*+,\-./0-9:;=?@A-Z_a-z~%]/g

/**
 * The request after `changes`, as another head: whoever decides or forwards sees what the authorizer
 * made of it. Fields that frame a message, or that only a sidecar may say, are left alone, and so are
 * pseudo-headers other than `:path` and `:authority`.
 *
 * @returns `undefined` when what comes out is no request
 */
export function changeRequest(head: RequestHead, changes: Changes): RequestHead | undefined {
  const lines = new Lines(head.fields)
  let authority: string | undefined
  let target = head.target
  for (const { kind, name, value } of changes.request) {
    if (name === 'host' || name === ':authority') {
      if (kind !== 'remove' && kind !== 'add-if-absent') authority = value
    } else if (name === ':path') {
      if (kind !== 'remove' && kind !== 'add-if-absent') target = value
    } else if (!lines.edit({ kind, name, value })) return undefined
  }
  target = changeQuery(target, changes)
  if (authority !== undefined && !VALUE.test(authority)) return undefined
  if (!target.startsWith('/')) return undefined
  return readHead(serializeRequest(head, { target, authority, added: lines.added }))
}

function changeQuery(target: string, { setParameters, removeParameters }: Changes): string {
  if (setParameters.length === 0 && removeParameters.length === 0) return target
  const at = target.indexOf('?')
  const [path, query] = at < 0 ? [target, ''] : [target.slice(0, at), target.slice(at + 1)]
  const gone = new Set([...removeParameters, ...setParameters.map(([name]) => name)])
  const kept = query
    .split('&')
    .filter((part) => part !== '' && !gone.has(part.split('=', 1)[0] ?? ''))
  const set = setParameters.map(([name, value]) => `${escaped(name)}=${escaped(value)}`)
  const parts = [...kept, ...set]
  return parts.length === 0 ? path : `${path}?${parts.join('&')}`
}

function escaped(text: string): string {
  return text.replace(NOT_IN_QUERY, (char) => encodeURIComponent(char))
}

/** Lines of a head that are left out, and lines that are added. */
class Lines {
  readonly #fields: FieldBlock
  #added: (readonly [name: string, value: string])[] = []

  constructor(fields: FieldBlock) {
    this.#fields = fields
  }

  get added(): string {
    return this.#added.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  }

  /** False: the edit cannot be made. */
  edit({ kind, name, value }: HeaderEdit): boolean {
    if (name.startsWith(':') || !isOpen(name)) return true
    if (!NAME.test(name) || !VALUE.test(value)) return false
    const before = this.#valuesOf(name)
    if (kind === 'add-if-absent' && before.length > 0) return true
    if (kind === 'set-if-present' && before.length === 0) return true
    if (kind !== 'add') this.#drop(name)
    // To the first line, and to nothing where there is none: as Envoy does.
    if (kind === 'append') {
      const [first, ...others] = before
      const lines = first === undefined ? [] : [`${first},${value}`, ...others]
      this.#added.push(...lines.map((line) => [name, line] as const))
    } else if (kind !== 'remove') this.#added.push([name, value])
    return true
  }

  #valuesOf(name: string): readonly string[] {
    const added = this.#added.filter(([other]) => other === name).map(([, value]) => value)
    return [...this.#fields.values(name), ...added]
  }

  #drop(name: string): void {
    this.#fields.dropNamed(name)
    this.#added = this.#added.filter(([other]) => other !== name)
  }
}

/** Whether an authorizer may say it. */
function isOpen(name: string): boolean {
  const bytes = Buffer.from(name, 'latin1')
  return isCarried(fieldOf(bytes, 0, bytes.length))
}

/** Does `edits` to the app's answer; returns the lines to add. Those that cannot be made are left out. */
export function changeResponse({ fields }: ResponseHead, edits: readonly HeaderEdit[]): string {
  const lines = new Lines(fields)
  for (const edit of edits) lines.edit(edit)
  return lines.added
}

/** What of `edits` goes along with an answer of our own, which has hardly any header of its own. */
export function linesOfOwn(edits: readonly HeaderEdit[]): string {
  const adding = edits.filter(({ kind }) => kind !== 'remove' && kind !== 'set-if-present')
  return headerText(adding.map(({ name, value }) => [name, value] as const))
}

/** Of an answer of ours these are ours: length, date and who we are. */
const OURS = new Set(['content-length', 'server', 'date', 'x-redoubt-decision'])

/** Headers of an authorizer as whole lines of an answer of ours; what cannot stand there is left out. */
export function headerText(headers: readonly (readonly [name: string, value: string])[]): string {
  return headers
    .filter(([name, value]) => NAME.test(name) && VALUE.test(value) && !OURS.has(name))
    .filter(([name]) => fieldKind(name) === FIELD.other)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')
}

function fieldKind(name: string): number {
  const bytes = Buffer.from(name, 'latin1')
  return fieldOf(bytes, 0, bytes.length)
}
