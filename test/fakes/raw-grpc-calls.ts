/**
 * A gRPC client that costs next to nothing, for calls by the thousand over one connection: a benchmark that shares
 * its cores with the server measures the server.
 */
import type { Socket } from 'node:net'
import { connect, type ConnectionOptions } from 'node:tls'

import {
  ACK,
  END_STREAM,
  FRAME,
  frame,
  type RawCallOptions,
  rawCall,
  streamOf,
  WINDOW,
} from './raw-grpc.ts'

export interface RawCalls extends Disposable {
  /** Makes the call once more. Resolves with the bytes of its answer; rejects if the server gave none. */
  readonly call: () => Promise<number>
}

interface Waiting {
  bytes: number
  readonly resolve: (bytes: number) => void
  readonly reject: (cause: Error) => void
}

/** Bytes before a frame's payload (RFC 9113 §4.1). */
const HEAD = 9
/** Where a stream's number stands in a call's first frame, and the size of its second's head. */
const NUMBER_AT = 5

/** Connects by TLS with ALPN h2; every call is the same one, on a stream of its own. */
export function openRawCalls(to: ConnectionOptions, options: RawCallOptions): RawCalls {
  const socket = connect({ ...to, ALPNProtocols: ['h2'] })
  socket.setNoDelay(true)
  socket.write(Buffer.concat([rawCall(), WINDOW]))
  const template = streamOf(options, 1)
  const second = HEAD + template.readUIntBE(0, 3)
  const waiting = new Map<number, Waiting>()
  let next = 1
  readFrames(socket, waiting)
  return {
    call: () =>
      new Promise((resolve, reject) => {
        const bytes = Buffer.from(template)
        bytes.writeUInt32BE(next, NUMBER_AT)
        bytes.writeUInt32BE(next, second + NUMBER_AT)
        waiting.set(next, { bytes: 0, resolve, reject })
        next += 2
        socket.write(bytes)
      }),
    [Symbol.dispose]: () => void socket.destroy(),
  }
}

function readFrames(socket: Socket, waiting: Map<number, Waiting>): void {
  let rest: Buffer = Buffer.alloc(0)
  socket.on('data', (bytes: Buffer) => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes])
    while (rest.length >= HEAD) {
      const end = HEAD + rest.readUIntBE(0, 3)
      if (rest.length < end) return
      take(socket, waiting, rest.subarray(0, end))
      rest = rest.subarray(end)
    }
  })
  const fail = (cause: Error): void => {
    for (const { reject } of waiting.values()) reject(cause)
  }
  socket.on('error', fail)
  socket.on('close', () => fail(new Error('the connection ended before an answer')))
}

function take(socket: Socket, waiting: Map<number, Waiting>, whole: Buffer): void {
  const [type, flags = 0] = [whole[3], whole[4]]
  if (type === FRAME.settings && flags !== ACK) {
    socket.write(frame(FRAME.settings, ACK, 0, Buffer.alloc(0)))
  }
  if (type === FRAME.ping && flags !== ACK) {
    socket.write(frame(FRAME.ping, ACK, 0, whole.subarray(HEAD)))
  }
  const stream = whole.readUInt32BE(NUMBER_AT)
  const call = waiting.get(stream)
  if (!call) return
  if (type === FRAME.data) call.bytes += whole.length - HEAD
  if ((flags & END_STREAM) === 0 && type !== FRAME.reset) return
  waiting.delete(stream)
  // Without decoding its header fields: a refusal is one without a message.
  if (call.bytes > 0) call.resolve(call.bytes)
  else call.reject(new Error('the server refused the call'))
}
