/** Fields of HTTP/2 as lists of names and values in turn, which is how sessions take and give them. */
import { FIELD, fieldOf } from '../http/field.ts'
import type { FieldBlock } from '../http/field-block.ts'

/** What frames a message of HTTP/1 or ends at a connection (RFC 9113 §8.2.2): never on a stream. */
const NO_PLACE: ReadonlySet<string> = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
])

/** Whether HTTP/2 has no such field. `name` is in lower case. */
export function hasNoPlace(name: string): boolean {
  return NO_PLACE.has(name)
}

/** Adds to `out` the lines of `fields` that were not dropped, but for `host`, which is `:authority` here. */
export function pushFields(out: string[], fields: FieldBlock): void {
  for (let index = 0; index < fields.count; index += 1) {
    if (fields.isDropped(index) || fields.kind(index) === FIELD.host) continue
    const name = fields.name(index)
    if (!NO_PLACE.has(name) && name !== 'te') out.push(name, fields.value(index))
  }
}

/** Adds to `out` whole lines of text, each `name: value` with its CRLF. */
export function pushLines(out: string[], lines: string): void {
  for (let at = 0; at < lines.length; ) {
    const colon = lines.indexOf(':', at)
    const end = lines.indexOf('\r\n', colon)
    const name = lines.slice(at, colon)
    if (!NO_PLACE.has(name)) out.push(name, lines.slice(colon + 2, end))
    at = end + 2
  }
}

/** Trailers on their way: by name, as sessions take them. */
export type Trailers = Readonly<Record<string, string[]>>

/**
 * Trailers of one side for the other. What means something to a proxy has no place behind a body, where
 * nobody has decided on it.
 */
export function trailersOf(raw: readonly string[]): Trailers {
  const trailers: Record<string, string[]> = Object.create(null)
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] as string
    if (name.startsWith(':') || hasNoPlace(name) || !isOther(name)) continue
    const values = trailers[name]
    if (values === undefined) trailers[name] = [raw[at + 1] as string]
    else values.push(raw[at + 1] as string)
  }
  return trailers
}

function isOther(name: string): boolean {
  const bytes = Buffer.from(name, 'latin1')
  return fieldOf(bytes, 0, bytes.length) === FIELD.other
}

const GRPC_STATUS = /^\d{1,2}$/

/** What a call came to by `grpc-status`; -1 when that is no number of two digits. */
export function grpcStatusOf(text: string | undefined): number {
  return text !== undefined && GRPC_STATUS.test(text) ? Number(text) : -1
}
