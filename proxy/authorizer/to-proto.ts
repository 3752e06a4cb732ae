/** A question as `envoy.service.auth.v3.Authorization/Check` has it. */
import { parseAddress } from '../config.ts'
import { FRAMING } from '../http/body.ts'
import type { FieldBlock } from '../http/field-block.ts'
import type { RequestHead } from '../http/request-head.ts'
import type { CheckRequest } from '../proto/gen/envoy/service/auth/v3/external_auth.ts'
import type {
  AttributeContext_HttpRequest,
  AttributeContext_Peer,
} from '../proto/gen/envoy/service/auth/v3/attribute_context.ts'
import type { HttpQuestion, Question } from './question.ts'

/** @param asBytes - the body goes into `raw_body`, byte for byte */
export function checkRequestToProto(
  question: Question,
  { asBytes, now }: { readonly asBytes: boolean; readonly now: Temporal.Instant },
): CheckRequest {
  const { connection, own, remoteAddress, localAddress, http } = question
  const time = new Date(now.epochMilliseconds)
  return {
    attributes: {
      source: peerToProto(remoteAddress, connection.peer ?? ''),
      destination: peerToProto(localAddress, connection.peer === undefined ? '' : own),
      request: { time, http: http && httpToProto(http, asBytes) },
      tlsSession: connection.sni === undefined ? undefined : { sni: connection.sni },
    },
  }
}

function peerToProto(text: string, principal: string): AttributeContext_Peer {
  const { host, port } = parseAddress(text)
  const socketAddress = {
    address: host,
    portSpecifier: { $case: 'portValue' as const, portValue: port },
  }
  return { address: { address: { $case: 'socketAddress', socketAddress } }, principal }
}

function httpToProto(question: HttpQuestion, asBytes: boolean): AttributeContext_HttpRequest {
  const { head, protocol, target, requestId, body, isPartial } = question
  const scheme = head.fields.first('x-forwarded-proto') ?? 'http'
  const pseudo = {
    ':authority': head.authority,
    ':method': head.method,
    ':path': target,
    ':scheme': scheme,
  }
  const certificate = question.forwardedCert.slice('x-forwarded-client-cert: '.length).trimEnd()
  return {
    id: requestId,
    method: head.method,
    headers: {
      ...pseudo,
      ...headersToProto(head.fields),
      ...(requestId === '' ? {} : { 'x-request-id': requestId }),
      ...(certificate === '' ? {} : { 'x-forwarded-client-cert': certificate }),
      ...(isPartial === undefined ? {} : { 'x-envoy-auth-partial-body': String(isPartial) }),
    },
    path: target,
    host: head.authority,
    scheme,
    size: sizeOf(head),
    protocol,
    body: asBytes || body === undefined ? '' : textOf(body),
    rawBody: asBytes && body !== undefined ? body : Buffer.alloc(0),
  }
}

/** Lines of one name are one value; a map without a prototype, since names come from callers. */
function headersToProto(fields: FieldBlock): Record<string, string> {
  const values: Record<string, string> = Object.create(null)
  for (let index = 0; index < fields.count; index += 1) {
    if (fields.isDropped(index)) continue
    const name = fields.name(index)
    if (name === 'host') continue
    const value = textOf(Buffer.from(fields.value(index), 'latin1'))
    const before = values[name]
    const joint = name === 'cookie' ? '; ' : ','
    values[name] = before === undefined ? value : `${before}${joint}${value}`
  }
  return values
}

/**
 * UTF-8, and `!` for what is none: a value that cannot be carried must not become a question that
 * nobody can read, which fail-open would let through (CVE-2023-27488).
 */
function textOf(bytes: Buffer): string {
  return bytes.toString('utf8').replaceAll('\uFFFD', '!')
}

function sizeOf({ framing, contentLength }: RequestHead): bigint {
  if (framing === FRAMING.none) return 0n
  return framing === FRAMING.length ? BigInt(contentLength) : -1n
}
