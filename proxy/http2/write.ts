/** Heads as lists of fields, for a stream. Names are in lower case already, as heads are read so. */
import type { RequestHead } from '../http/request-head.ts'
import type { ResponseHead } from '../http/response-head.ts'
import { type OwnAnswer, ownBody } from '../http/rescue.ts'
import type { RequestEdits } from '../http/serialize.ts'
import { pushFields, pushLines } from './fields.ts'

/** A request for the app, in plaintext. */
export function requestFields(
  head: RequestHead,
  { target, authority, added }: RequestEdits,
  takesTrailers: boolean,
): string[] {
  const out = [
    ':method',
    head.method,
    ':scheme',
    'http',
    ':authority',
    authority ?? head.authority,
    ':path',
    target ?? head.target,
  ]
  pushFields(out, head.fields)
  pushLines(out, added)
  if (takesTrailers) out.push('te', 'trailers')
  return out
}

/** The answer of an app. `added`: whole lines, each with its CRLF. */
export function responseFields({ status, fields }: ResponseHead, added: string): string[] {
  const out = [':status', String(status)]
  pushFields(out, fields)
  pushLines(out, added)
  return out
}

/** An interim answer (100 to 199), as sessions take them. */
export function interimFields({ status, fields }: ResponseHead): Record<string, string | string[]> {
  const list: string[] = []
  pushFields(list, fields)
  const out: Record<string, string | string[]> = { ':status': String(status) }
  for (let at = 0; at < list.length; at += 2) {
    const name = list[at] as string
    const value = list[at + 1] as string
    const before = out[name]
    out[name] = before === undefined ? value : [before, value].flat()
  }
  return out
}

/** An answer of our own, and its body in bytes. `server: istio-envoy` as in HTTP/1. */
export function ownFields(
  answer: OwnAnswer,
  { added, isHead }: { readonly added: string; readonly isHead: boolean },
): { readonly fields: string[]; readonly body: Buffer } {
  const body = Buffer.from(ownBody(answer), 'latin1')
  const fields = [':status', String(answer.status)]
  if (body.length > 0) {
    fields.push('content-length', String(body.length))
    if (!/(^|\r\n)content-type: /.test(added)) fields.push('content-type', 'text/plain')
  }
  fields.push('server', 'istio-envoy')
  pushLines(fields, added)
  return { fields, body: isHead ? body.subarray(0, 0) : body }
}
