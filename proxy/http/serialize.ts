/**
 * Heads as text for the next hop. Every field line is as it came, in its order, names in lower
 * case; what ends at a proxy is left out, and the body is framed anew.
 */
import { FRAMING, type Framing } from './body.ts'
import type { RequestHead } from './request-head.ts'
import type { ResponseHead } from './response-head.ts'
import { FIELD } from './field.ts'

const CHUNKED = 'transfer-encoding: chunked\r\n'
export const CONNECTION_CLOSE = 'connection: close\r\n'
export const LAST_CHUNK = '0\r\n\r\n'

/** What a proxy changes in a request: `undefined` or '' leaves alone. */
export interface RequestEdits {
  /** Origin form. */
  readonly target?: string | undefined
  readonly authority?: string | undefined
  /** Whole lines, each with its CRLF. */
  readonly added: string
}

/** A request head for an HTTP/1.1 hop, in origin form. */
export function serializeRequest(head: RequestHead, edits: RequestEdits): string {
  const { fields } = head
  const authority = edits.authority ?? (head.isAbsolute ? head.authority : undefined)
  const framing =
    (head.framing === FRAMING.chunked ? CHUNKED : '') +
    (head.upgrade === '' ? '' : `connection: upgrade\r\nupgrade: ${head.upgrade}\r\n`)
  if (authority === undefined && edits.target === undefined && !head.hasFragment) {
    if (fields.isWhole) return `${fields.text.slice(0, fields.endAt)}${edits.added}${framing}\r\n`
    const line = fields.text.slice(0, fields.startAt)
    return `${line}${fields.kept()}${edits.added}${framing}\r\n`
  }
  let host = ''
  if (authority !== undefined) {
    dropHost(head)
    host = `host: ${authority}\r\n`
  }
  const target = edits.target ?? head.target
  return `${head.method} ${target} HTTP/1.1\r\n${host}${fields.kept()}${edits.added}${framing}\r\n`
}

function dropHost({ fields }: RequestHead): void {
  for (let index = 0; index < fields.count; index += 1) {
    if (fields.kind(index) === FIELD.host) fields.drop(index)
  }
}

/**
 * A response head for an HTTP/1.1 client. `framing` is how the body goes on: `close` becomes
 * chunked, so that the client sees whether it is whole and keeps its connection.
 *
 * @param added - whole lines, each with its CRLF
 */
export function serializeResponse(head: ResponseHead, framing: Framing, added: string): string {
  const { fields } = head
  const how =
    framing === FRAMING.chunked
      ? CHUNKED
      : framing === FRAMING.tunnel && head.status === 101
        ? `connection: upgrade\r\nupgrade: ${head.upgrade}\r\n`
        : ''
  const kept = fields.isWhole ? fields.text.slice(fields.startAt, fields.endAt) : fields.kept()
  // The line is written anew when the app spoke HTTP/1.0.
  const line = fields.text.slice(8, fields.startAt)
  return `HTTP/1.1${line}${kept}${added}${how}\r\n`
}

/** One chunk's size line. */
export function chunkHead(bytes: number): string {
  return `${bytes.toString(16)}\r\n`
}
