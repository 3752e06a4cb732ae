/** A gRPC caller that costs next to nothing: the bytes of one call, made once and written by the thousand. */
import { connect, type Socket } from 'node:net'

/** HTTP/2 (RFC 9113): what a call needs of it. */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
export const FRAME = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  windowUpdate: 8,
} as const
const END_HEADERS = 4
export const END_STREAM = 1
/** Of settings and pings. */
export const ACK = 1

/** One frame. */
export function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** HPACK without a table: each field literal, never indexed (RFC 7541 §6.2.3). */
function fieldBlock(fields: Readonly<Record<string, string>>): Buffer {
  const text = (value: string) => Buffer.concat([Buffer.of(value.length), Buffer.from(value)])
  const parts = Object.entries(fields).flatMap(([name, value]) => [
    Buffer.of(0x10),
    text(name),
    text(value),
  ])
  return Buffer.concat(parts)
}

export interface RawCallOptions {
  /** e.g. `/SpiffeWorkloadAPI/FetchX509SVID`. */
  readonly path: string
  /** The request, encoded. */
  readonly message?: Uint8Array
  /** `false` leaves the caller's half of the stream open. @default true */
  readonly ends?: boolean
}

/** Everything that a caller writes for these calls on one connection, in one piece. */
export function rawCall(...calls: readonly RawCallOptions[]): Buffer {
  const streams = calls.map((call, at) => streamOf(call, 2 * at + 1))
  return Buffer.concat([PREFACE, frame(FRAME.settings, 0, 0, Buffer.alloc(0)), ...streams])
}

/** One call's frames, on the stream of this number (odd). */
export function streamOf(
  { path, message = Buffer.alloc(0), ends = true }: RawCallOptions,
  stream: number,
): Buffer {
  const headers = fieldBlock({
    ':method': 'POST',
    ':scheme': 'http',
    ':path': path,
    ':authority': 'localhost',
    'content-type': 'application/grpc',
    te: 'trailers',
    'workload.spiffe.io': 'true',
  })
  const prefix = Buffer.alloc(5)
  prefix.writeUInt32BE(message.length, 1)
  return Buffer.concat([
    frame(FRAME.headers, END_HEADERS, stream, headers),
    frame(FRAME.data, ends ? END_STREAM : 0, stream, Buffer.concat([prefix, message])),
  ])
}

/** Room for what an agent sends in an hour, so that no caller has to count windows. */
export const WINDOW: Buffer = frame(FRAME.windowUpdate, 0, 0, Buffer.of(0x3f, 0xff, 0xff, 0xff))

export interface RawCaller {
  readonly socket: Socket
  /** Resolves when a message of the first call has begun to arrive; rejects if the connection ends before. */
  readonly answered: Promise<void>
}

/** Connects to a Unix socket and makes one call. */
export function openRawCall(socketPath: string, call: Buffer): RawCaller {
  const socket = connect(socketPath)
  socket.write(Buffer.concat([call, WINDOW]))
  const answered = new Promise<void>((resolve, reject) => {
    let rest = Buffer.alloc(0)
    socket.on('data', (bytes: Buffer) => {
      rest = Buffer.concat([rest, bytes])
      while (rest.length >= 9) {
        const length = rest.readUIntBE(0, 3)
        if (rest[3] === FRAME.data && rest.readUInt32BE(5) === 1) resolve()
        if (rest.length < 9 + length) break
        rest = rest.subarray(9 + length)
      }
    })
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('the connection ended before an answer')))
  })
  answered.catch(() => {}) // for those who do not wait
  return { socket, answered }
}
