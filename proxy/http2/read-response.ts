/** The head of an HTTP/2 answer, read by the codec that reads HTTP/1 (see `read-request.ts`). */
import type { ResponseHead } from '../http/response-head.ts'
import { hasNoPlace } from './fields.ts'

/**
 * Reads `raw`, names and values in turn, into `head`.
 *
 * @returns why it is no answer; `undefined` when it is
 */
export function readStreamResponse(
  raw: readonly string[],
  method: string,
  head: ResponseHead,
): string | undefined {
  let status = ''
  let lines = ''
  let count = 0
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] as string
    const value = raw[at + 1] as string
    if (name === ':status') status = value
    else if (name.includes(':')) return 'field-name-malformed'
    else if (hasNoPlace(name)) return 'field-hop-by-hop'
    else {
      lines += `${name}: ${value}\r\n`
      count += 1
    }
  }
  const bytes = Buffer.from(`HTTP/1.1 ${status} \r\n${lines}\r\n`, 'latin1')
  const end = head.read(bytes, 0, bytes.length, method)
  if (end < 0) return head.fault
  if (end !== bytes.length || head.fields.count !== count) return 'field-value-malformed'
  return head.status === 101 ? 'status-101' : undefined
}
