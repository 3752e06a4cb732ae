/**
 * HTTP/2 that ends at this sidecar: every stream of a connection is decided on and forwarded by itself.
 * Loaded by the first connection that speaks it.
 */
import type { Socket } from 'node:net'
import { performServerHandshake, type ServerHttp2Session } from 'node:http2'
import { type InboundApp, type InboundDeps, InboundRequests } from '../inbound/forward.ts'
import type { Peer } from '../inbound/peer.ts'
import type { OpenConnection, OpenConnections } from '../stack/open-connections.ts'
import { AppSession, type AppSessionOptions } from './app-session.ts'
import { InboundStream, type StreamHost } from './inbound-stream.ts'
import { SERVER_LIMITS } from './limits.ts'

export interface StreamsDeps {
  readonly requests: InboundDeps
  readonly connections: OpenConnections
  readonly app: AppSessionOptions
}

/** What one connection is served with. */
export interface StreamsOptions {
  readonly peer: Peer
  /** Whether the app speaks HTTP/2; else each request goes to it over HTTP/1. */
  readonly isAppHttp2: boolean
  /** What has been read of the connection. */
  readonly head: Buffer
}

/** The highest id that a caller's stream can have: nothing it has begun by now is refused. */
const LAST_STREAM = 2 ** 31 - 1

/** Serves one connection. */
export function serveStreams(
  socket: Socket,
  options: StreamsOptions,
  deps: StreamsDeps,
): StreamsConnection {
  return new StreamsConnection(socket, options, deps)
}

export class StreamsConnection implements OpenConnection {
  readonly socket: Socket
  readonly #session: ServerHttp2Session
  readonly #deps: StreamsDeps
  readonly #host: StreamHost
  #streams = 0
  #isRetiring = false

  constructor(socket: Socket, { peer, isAppHttp2, head }: StreamsOptions, deps: StreamsDeps) {
    this.socket = socket
    this.#deps = deps
    const session = isAppHttp2 ? new AppSession(deps.app) : undefined
    this.#host = this.#hostOf(peer, session)
    if (head.length > 0) socket.unshift(head)
    this.#session = performServerHandshake(socket, SERVER_LIMITS)
    const remove = deps.connections.add(this)
    this.#session.on('stream', (stream, _headers, flags, raw) => {
      this.#streams += 1
      const inbound = new InboundStream(stream, this.#host)
      try {
        inbound.begin(flags, raw)
      } catch {
        // Whatever it was, nothing of it goes on.
        inbound.fail()
      }
    })
    // What has failed is told by its streams, and by 'close'.
    this.#session.on('error', () => {})
    this.#session.on('close', () => {
      remove()
      session?.destroy()
      socket.destroy()
    })
    // Sockets here stay half open, and who says no more reads no answer.
    socket.once('end', () => socket.destroy())
  }

  #hostOf(peer: Peer, session: AppSession | undefined): StreamHost {
    const { requests } = this.#deps
    return {
      session,
      app: requests.app,
      sink: (caller, app: InboundApp) => new InboundRequests(requests, peer, caller, app),
      retire: () => this.retire(),
      onClose: () => {
        this.#streams -= 1
      },
    }
  }

  get isIdle(): boolean {
    return this.#streams === 0
  }

  /** Says goodbye; what the caller has sent by the time it reads that is still taken. */
  retire(): void {
    if (this.#isRetiring || this.#session.destroyed) return
    this.#isRetiring = true
    this.#session.goaway(0, LAST_STREAM)
  }

  endIdle(): void {
    this.#session.close()
  }

  /** Takes no further stream, and ends with the last one. */
  expire(): void {
    this.#session.close()
  }
}
