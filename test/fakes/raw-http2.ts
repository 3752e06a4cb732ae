/** HTTP/2 by the byte (RFC 9113, RFC 7541): frames that no client would send. */
import type { Socket } from 'node:net'

export const PREFACE: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
export const FRAME = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const
export const END_STREAM = 1
export const END_HEADERS = 4
const ACK = 1

export function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

export const SETTINGS: Buffer = frame(FRAME.settings, 0, 0, Buffer.alloc(0))
const ACKNOWLEDGED: Buffer = frame(FRAME.settings, ACK, 0, Buffer.alloc(0))

/** An integer with a prefix of 7 bits (RFC 7541 §5.1). */
function length(value: number): Buffer {
  if (value < 127) return Buffer.of(value)
  const bytes = [127]
  let rest = value - 127
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128)
  return Buffer.from([...bytes, rest])
}

const text = (value: string): Buffer => {
  const bytes = Buffer.from(value, 'latin1')
  return Buffer.concat([length(bytes.length), bytes])
}

/** Fields, each literal and never indexed, in order, with whatever characters. */
export function fieldBlock(fields: readonly (readonly [name: string, value: string])[]): Buffer {
  return Buffer.concat(
    fields.flatMap(([name, value]) => [Buffer.of(0x10), text(name), text(value)]),
  )
}

export const REQUEST: readonly (readonly [string, string])[] = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':authority', 'server.test'],
  [':path', '/a'],
]

export function request(
  stream: number,
  fields: readonly (readonly [string, string])[] = REQUEST,
  flags: number = END_HEADERS + END_STREAM,
): Buffer {
  return frame(FRAME.headers, flags, stream, fieldBlock(fields))
}

export function reset(stream: number, code: number): Buffer {
  const payload = Buffer.alloc(4)
  payload.writeUInt32BE(code)
  return frame(FRAME.reset, 0, stream, payload)
}

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

export interface RawFrames {
  readonly frames: readonly Frame[]
  readonly isOver: () => boolean
  /** The code of a stream's reset, or of GOAWAY for stream 0; `undefined`: there is none. */
  readonly codeOf: (stream: number) => number | undefined
}

/** Reads the frames that come on `socket`, and says yes to its settings. */
export function readFrames(socket: Socket): RawFrames {
  const frames: Frame[] = []
  let rest: Buffer = Buffer.alloc(0)
  let over = false
  socket.on('error', () => {})
  socket.on('end', () => socket.destroy())
  socket.on('close', () => {
    over = true
  })
  socket.on('data', (bytes: Buffer) => {
    rest = Buffer.concat([rest, bytes])
    while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
      const size = rest.readUIntBE(0, 3)
      frames.push({
        type: rest[3] ?? 0,
        flags: rest[4] ?? 0,
        stream: rest.readUInt32BE(5),
        payload: Buffer.from(rest.subarray(9, 9 + size)),
      })
      rest = rest.subarray(9 + size)
      const last = frames.at(-1)
      if (last?.type === FRAME.settings && last.flags === 0) socket.write(ACKNOWLEDGED)
    }
  })
  return {
    frames,
    isOver: () => over,
    codeOf(stream) {
      const type = stream === 0 ? FRAME.goaway : FRAME.reset
      const found = frames.find((one) => one.type === type && one.stream === stream)
      return found?.payload.readUInt32BE(stream === 0 ? 4 : 0)
    },
  }
}
