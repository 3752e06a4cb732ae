/**
 * What a TLS client says before anything is encrypted (RFC 8446 §4.1.2): as much of it as is needed to
 * tell a sidecar from a stranger. Nothing here is trusted; TLS itself judges the handshake.
 */

/** Offers of a client, as sent. */
export interface ClientHello {
  /** Empty when it offers none. */
  readonly alpn: readonly string[]
  /** The name that it asks for. */
  readonly sni: string | undefined
}

/** `not-tls`: no ClientHello starts like this. */
export type ClientHelloReading = ClientHello | 'need-more' | 'not-tls'

const HANDSHAKE = 0x16
const CLIENT_HELLO = 1
const SERVER_NAME = 0
const ALPN = 16
const RECORD_HEADER = 5
/** A record's greatest length (RFC 8446 §5.1). */
const MAX_RECORD = 16_384

/** Records that one ClientHello may be divided into: clients send one, and each read looks at all. */
const MAX_RECORDS = 16

/** Reads the ClientHello that `bytes` start with, which may be divided into several records. */
export function readClientHello(bytes: Buffer): ClientHelloReading {
  const records: Buffer[] = []
  for (let at = 0; records.length < MAX_RECORDS; ) {
    if (!looksLikeTls(bytes, at)) return 'not-tls'
    if (bytes.length < at + RECORD_HEADER) return 'need-more'
    const end = at + RECORD_HEADER + bytes.readUInt16BE(at + 3)
    if (end === at + RECORD_HEADER || end > at + RECORD_HEADER + MAX_RECORD) return 'not-tls'
    records.push(bytes.subarray(at + RECORD_HEADER, end))
    const reading = readMessage(records.length === 1 ? records[0] : Buffer.concat(records))
    if (reading !== 'need-more' || bytes.length < end) return reading
    at = end
  }
  return 'not-tls'
}

function readMessage(message: Buffer = Buffer.alloc(0)): ClientHelloReading {
  if (message.length > 0 && message[0] !== CLIENT_HELLO) return 'not-tls'
  if (message.length < 4) return 'need-more'
  const end = 4 + message.readUIntBE(1, 3)
  if (end > MAX_RECORD) return 'not-tls'
  return message.length < end ? 'need-more' : (readBody(message.subarray(4, end)) ?? 'not-tls')
}

function looksLikeTls(bytes: Buffer, at: number): boolean {
  const [type = HANDSHAKE, major = 3] = bytes.subarray(at, at + 2)
  return type === HANDSHAKE && major === 3
}

/** `undefined`: a length leads out of the message. */
function readBody(body: Buffer): ClientHello | undefined {
  try {
    let at = 2 + 32
    at += 1 + body.readUInt8(at)
    at += 2 + body.readUInt16BE(at)
    at += 1 + body.readUInt8(at)
    if (at === body.length) return { alpn: [], sni: undefined }
    const end = at + 2 + body.readUInt16BE(at)
    return end > body.length ? undefined : readExtensions(body.subarray(at + 2, end))
  } catch (cause) {
    if (cause instanceof RangeError) return undefined
    throw cause
  }
}

function readExtensions(bytes: Buffer): ClientHello {
  let alpn: readonly string[] = []
  let sni: string | undefined
  for (let at = 0; at < bytes.length; ) {
    const type = bytes.readUInt16BE(at)
    const end = at + 4 + bytes.readUInt16BE(at + 2)
    if (end > bytes.length) throw new RangeError('an extension is longer than the message')
    const content = bytes.subarray(at + 4, end)
    if (type === ALPN) alpn = readNames(content)
    if (type === SERVER_NAME && content.length > 5) {
      sni = content.toString('latin1', 5, 5 + content.readUInt16BE(3))
    }
    at = end
  }
  return { alpn, sni }
}

/** RFC 7301 §3.1. */
function readNames(content: Buffer): readonly string[] {
  const names: string[] = []
  for (let at = 2; at < content.length; ) {
    const end = at + 1 + content.readUInt8(at)
    names.push(content.toString('latin1', at + 1, end))
    at = end
  }
  return names
}
