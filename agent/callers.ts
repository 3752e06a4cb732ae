import type { Socket } from 'node:net'
import type { SpiffeId } from '#ca/spiffe/index.ts'
import type { Clock } from '#core/clock.ts'
import type { Log } from '#core/log.ts'
import { AgentError } from './error.ts'

/** Tells who is behind a socket; `undefined`: nobody it knows. See attest/registry.ts. */
export type Identify = (socket: Socket, signal: AbortSignal) => Promise<SpiffeId | undefined>

/** As much of a gRPC call as is needed to find and follow its caller. */
export interface CallerCall {
  readonly getPeer: () => string
  readonly cancelled: boolean
  readonly on: (event: 'cancelled' | 'close' | 'finish', listener: () => void) => unknown
}

/** One call by one caller, from its first byte to its end. */
export interface CallerSession extends Disposable {
  /** Aborts at the end of the call, of the connection, or of the agent. */
  readonly signal: AbortSignal
  /**
   * Judges the caller, anew at each call of this.
   *
   * @throws {AgentError} `AGENT_PEER_UNKNOWN`
   */
  readonly identify: () => Promise<SpiffeId>
}

export interface Callers {
  /** Takes a connection that was accepted in this turn. */
  readonly accept: (socket: Socket) => void
  /** @throws {AgentError} `AGENT_OVERLOADED`, `AGENT_PEER_UNKNOWN` */
  readonly open: (call: CallerCall) => CallerSession
  /** Closes every connection, whatever is on its way. */
  readonly close: () => void
  readonly connections: () => number
  readonly calls: () => number
}

export interface CallersDeps {
  readonly identify: Identify
  readonly clock: Clock
  readonly log: Log
}

/** Calls at once of one identity, over all its connections. */
const MAX_CALLS_PER_IDENTITY = 256
/** Elapsed milliseconds after which a connection that has proved no identity is closed. */
const STRANGER_MS = 10_000

interface Connection {
  readonly socket: Socket
  readonly closed: AbortController
  identified: boolean
}

/**
 * The connections on the socket and whose they are.
 *
 * grpc-js tells a handler nothing of a Unix connection but `remoteAddress`; so each socket is given
 * one that names its entry here, which nothing that a caller sends can change.
 *
 * @param signal - Ends all sessions.
 */
export function createCallers({ identify, clock, log }: CallersDeps, signal: AbortSignal): Callers {
  const connections = new Map<string, Connection>()
  const calls = new Map<SpiffeId, number>()
  let accepted = 0

  return {
    accept(socket) {
      accepted += 1
      const name = `caller-${accepted}`
      Object.defineProperty(socket, 'remoteAddress', { value: name })
      Object.defineProperty(socket, 'remotePort', { value: undefined })
      const closed = new AbortController()
      const connection: Connection = { socket, closed, identified: false }
      connections.set(name, connection)
      socket.once('close', () => {
        connections.delete(name)
        closed.abort(new Error('the caller is gone'))
      })
      // Now, while the kernel's answer is about the process that has just connected.
      identify(socket, closed.signal).catch((cause: unknown) => {
        if (closed.signal.aborted) return
        log('warn', 'caller-unreadable', { cause: String(cause) })
        socket.destroy()
      })
      void clock.sleep(STRANGER_MS, AbortSignal.any([signal, closed.signal])).then(
        () => !connection.identified && socket.destroy(),
        () => {},
      )
    },

    open(call) {
      const connection = connections.get(call.getPeer())
      if (!connection) throw unknownCaller()
      const ended = new AbortController()
      const end = (): void => ended.abort(new Error('the call has ended'))
      for (const event of ['cancelled', 'close', 'finish'] as const) call.on(event, end)
      if (call.cancelled) end()
      const either = AbortSignal.any([signal, connection.closed.signal, ended.signal])
      let counted: SpiffeId | undefined

      return {
        signal: either,
        async identify() {
          const id = await identify(connection.socket, either)
          either.throwIfAborted()
          if (!id || (counted && id !== counted)) throw unknownCaller()
          connection.identified = true
          if (!counted) {
            count(calls, id)
            counted = id
          }
          return id
        },
        [Symbol.dispose]() {
          end()
          if (counted) uncount(calls, counted)
          counted = undefined
        },
      }
    },

    close() {
      for (const { socket } of connections.values()) socket.destroy()
    },
    connections: () => connections.size,
    calls: () => [...calls.values()].reduce((sum, each) => sum + each, 0),
  }
}

function count(calls: Map<SpiffeId, number>, id: SpiffeId): void {
  const now = calls.get(id) ?? 0
  if (now >= MAX_CALLS_PER_IDENTITY) {
    throw new AgentError(
      'AGENT_OVERLOADED',
      `Cannot answer "${id}": it has ${now} calls open, expected fewer than ${MAX_CALLS_PER_IDENTITY}`,
    )
  }
  calls.set(id, now + 1)
}

function uncount(calls: Map<SpiffeId, number>, id: SpiffeId): void {
  const left = (calls.get(id) ?? 1) - 1
  if (left > 0) calls.set(id, left)
  else calls.delete(id)
}

function unknownCaller(): AgentError {
  return new AgentError(
    'AGENT_PEER_UNKNOWN',
    'Cannot answer: the calling process is not registered, nor is any that started it',
  )
}
