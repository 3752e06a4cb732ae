/**
 * Unary gRPC calls to one endpoint over one HTTP/2 connection, on a socket that the sidecar's own way
 * out has dialled: with mutual TLS towards another sidecar, in plaintext elsewhere.
 */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
} from 'node:http2'
import type { Dial } from '../mesh/http1.ts'
import type { TimerWheel, WheelTimer } from '../stack/timer-wheel.ts'
import type { AttemptFailure } from './attempts.ts'

/** Bytes of an answer; a longer one is a failure. */
const MAX_MESSAGE_BYTES = 1024 * 1024
/** Flag and length before each message (gRPC over HTTP/2, "Length-Prefixed-Message"). */
const PREFIX_BYTES = 5
const UNAVAILABLE = '14'
const IDLE_MS = 60_000

/** One call. */
export interface Call {
  readonly path: string
  readonly authority: string
  readonly message: Buffer
  readonly timeoutMs: number
}

export interface CallOutcome {
  readonly onMessage: (message: Buffer) => void
  readonly onFailure: (failure: AttemptFailure) => void
}

export interface GrpcChannel {
  /** Returns how to give the call up; calls back once, later, unless given up. */
  readonly call: (call: Call, outcome: CallOutcome) => () => void
}

type Waiting = (session: ClientHttp2Session | undefined, detail: string) => void

/** Opens a connection at the first call, and another when that one has had its time. */
export function createGrpcChannel(dial: Dial, wheel: TimerWheel): GrpcChannel {
  let session: ClientHttp2Session | undefined
  let waiting: Waiting[] | undefined
  const retire: WheelTimer = wheel.timer(() => {
    session?.close()
    session = undefined
  })
  const idle = wheel.timer(() => retireIfIdle())
  let calls = 0

  function retireIfIdle(): void {
    if (calls > 0) return idle.set(IDLE_MS)
    retire.clear()
    session?.close()
    session = undefined
  }

  function withSession(then: Waiting): void {
    if (session !== undefined && !session.closed && !session.destroyed) return then(session, '')
    if (waiting !== undefined) return void waiting.push(then)
    waiting = [then]
    dial(
      ({ socket, lifeMs }) => {
        const made = connect('http://authorizer', { createConnection: () => socket })
        // What has failed is told by its streams; nobody else waits for it.
        made.on('error', () => {})
        made.on('close', () => {
          if (session === made) session = undefined
        })
        // Sockets here stay half open, and one that says no more answers no call.
        socket.once('end', () => made.destroy())
        made.unref()
        session = made
        if (Number.isFinite(lifeMs)) retire.set(lifeMs)
        idle.set(IDLE_MS)
        release(made, '')
      },
      (kind, detail) => release(undefined, `${kind}: ${detail}`),
    )
  }

  function release(made: ClientHttp2Session | undefined, detail: string): void {
    const released = waiting ?? []
    waiting = undefined
    for (const then of released) then(made, detail)
  }

  return {
    call(call, outcome) {
      let isOver = false
      let stream: ClientHttp2Stream | undefined
      calls += 1
      const end = (): boolean => {
        const isFirst = !isOver
        isOver = true
        if (isFirst) calls -= 1
        return isFirst
      }
      withSession((open, detail) => {
        if (isOver) return
        if (open === undefined) {
          end()
          // Later: nobody is called back before `call` has returned.
          return queueMicrotask(() => outcome.onFailure({ detail, again: true }))
        }
        stream = open.request(headersOf(call), { endStream: false })
        collect(stream, {
          onMessage: (message) => void (end() && outcome.onMessage(message)),
          onFailure: (failure) => void (end() && outcome.onFailure(failure)),
        })
        stream.end(framed(call.message))
      })
      return () => {
        if (end()) stream?.close(constants.NGHTTP2_CANCEL)
      }
    },
  }
}

function headersOf({ path, authority, timeoutMs }: Call): Record<string, string> {
  return {
    ':method': 'POST',
    ':scheme': 'http',
    ':authority': authority,
    ':path': path,
    te: 'trailers',
    'content-type': 'application/grpc',
    // Eight digits at most.
    'grpc-timeout': timeoutMs < 1e8 ? `${timeoutMs}m` : '99999999S',
    'user-agent': 'redoubt',
  }
}

function framed(message: Buffer): Buffer {
  const bytes = Buffer.alloc(PREFIX_BYTES + message.length)
  bytes.writeUInt32BE(message.length, 1)
  message.copy(bytes, PREFIX_BYTES)
  return bytes
}

function collect(stream: ClientHttp2Stream, { onMessage, onFailure }: CallOutcome): void {
  const pieces: Buffer[] = []
  let bytes = 0
  let head: IncomingHttpHeaders = {}
  let trailers: IncomingHttpHeaders = {}
  stream.on('response', (headers) => {
    head = headers
  })
  stream.on('trailers', (headers) => {
    trailers = headers
  })
  stream.on('data', (piece: Buffer) => {
    bytes += piece.length
    pieces.push(piece)
    if (bytes <= MAX_MESSAGE_BYTES + PREFIX_BYTES) return
    stream.close(constants.NGHTTP2_CANCEL)
    onFailure({ detail: `its answer has more than ${MAX_MESSAGE_BYTES} bytes`, again: false })
  })
  stream.on('error', (cause) => {
    onFailure({ detail: cause.message, again: Object.keys(head).length === 0 })
  })
  stream.on('close', () => {
    const status = trailers['grpc-status'] ?? head['grpc-status']
    if (status === '0') return readMessage(Buffer.concat(pieces), { onMessage, onFailure })
    const why = status === undefined ? `HTTP status ${head[':status']}` : `gRPC status ${status}`
    const said = trailers['grpc-message'] ?? head['grpc-message'] ?? ''
    const again = status === UNAVAILABLE || Object.keys(head).length === 0
    onFailure({ detail: `${why} ${String(said)}`.trimEnd(), again })
  })
}

function readMessage(bytes: Buffer, { onMessage, onFailure }: CallOutcome): void {
  const length = bytes.length < PREFIX_BYTES ? -1 : bytes.readUInt32BE(1)
  if (bytes[0] === 0 && length === bytes.length - PREFIX_BYTES) {
    return onMessage(bytes.subarray(PREFIX_BYTES))
  }
  onFailure({ detail: 'its answer is not one message', again: false })
}
