import type { Socket } from 'node:net'
import type { SpiffeId } from '#ca/spiffe/index.ts'
import type { Clock } from '#core/clock.ts'
import type { Log } from '#core/log.ts'
import { AgentError } from './error.ts'
import { createStrangers } from './strangers.ts'

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
  /** @throws {AgentError} `AGENT_PEER_UNKNOWN` if that is what ended it: see {@link Callers.rejudge} */
  readonly throwIfUnknown: () => void
}

export interface Callers {
  /** Takes a connection that was accepted in this turn. */
  readonly accept: (socket: Socket) => void
  /** @throws {AgentError} `AGENT_OVERLOADED`, `AGENT_PEER_UNKNOWN` */
  readonly open: (call: CallerCall) => CallerSession
  /** Judges everybody anew: the calls of who is not who he was when they began end, as of an unknown. */
  readonly rejudge: () => void
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
/** Connections at once of one identity; a process of ours has one. */
const MAX_CONNECTIONS_PER_IDENTITY = 256
/** Connections at once of those who are not known yet: beyond it, whoever has been that for longest goes. */
const MAX_UNKNOWN = 2048
/** Elapsed milliseconds after which a connection that has proved no identity is closed. */
const STRANGER_MS = 10_000

interface Connection {
  readonly socket: Socket
  readonly closed: AbortController
  /** Of whoever connected, once it is known. */
  owner: SpiffeId | undefined
  readonly calls: Set<Call>
}

interface Call {
  readonly ended: AbortController
  /** Who called, once it is known. */
  caller: SpiffeId | undefined
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
  const owners = new Map<SpiffeId, number>()
  /** Those not known yet, the first to come first. */
  const unknown = new Set<Connection>()
  const late = ({ socket }: Connection) => socket.destroy()
  const strangers = createStrangers({ ms: STRANGER_MS, late, clock }, signal)
  let accepted = 0

  /** Counts a connection in under its owner, if there is room for it. */
  const claim = (connection: Connection, owner: SpiffeId | undefined): boolean => {
    if (!owner || connection.owner || connection.closed.signal.aborted) return true
    const others = owners.get(owner) ?? 0
    if (others >= MAX_CONNECTIONS_PER_IDENTITY) {
      log('warn', 'caller-has-too-many-connections', { id: owner, connections: others })
      return false
    }
    connection.owner = owner
    owners.set(owner, others + 1)
    unknown.delete(connection)
    return true
  }
  const release = (connection: Connection): void => {
    unknown.delete(connection)
    strangers.remove(connection)
    if (connection.owner) uncount(owners, connection.owner)
  }

  // One signal for each call, ended from here: signals that follow others cost a call more than all else.
  const endEverything = (): void => {
    for (const connection of connections.values()) endAll(connection, signal.reason)
  }
  signal.addEventListener('abort', endEverything, { once: true })

  return {
    accept(socket) {
      accepted += 1
      const name = `caller-${accepted}`
      Object.defineProperty(socket, 'remoteAddress', { value: name })
      Object.defineProperty(socket, 'remotePort', { value: undefined })
      const closed = new AbortController()
      const connection: Connection = { socket, closed, owner: undefined, calls: new Set() }
      if (signal.aborted) endAll(connection, signal.reason)
      connections.set(name, connection)
      unknown.add(connection)
      strangers.add(connection)
      const [longest] = unknown
      if (unknown.size > MAX_UNKNOWN) longest?.socket.destroy()
      socket.once('close', () => {
        connections.delete(name)
        release(connection)
        endAll(connection, new Error('the caller is gone'))
      })
      // Now, while the kernel's answer is about the process that has just connected.
      identify(socket, closed.signal).then(
        (owner) => claim(connection, owner) || socket.destroy(),
        (cause: unknown) => {
          if (closed.signal.aborted) return
          log('warn', 'caller-unreadable', { cause: String(cause) })
          socket.destroy()
        },
      )
    },

    open(call) {
      const connection = connections.get(call.getPeer())
      if (!connection) throw unknownCaller()
      const ended = new AbortController()
      const own: Call = { ended, caller: undefined }
      connection.calls.add(own)
      const end = (): void => {
        connection.calls.delete(own)
        ended.abort(new Error('the call has ended'))
      }
      for (const event of ['cancelled', 'close', 'finish'] as const) call.on(event, end)
      if (call.cancelled || connection.closed.signal.aborted) end()

      return {
        signal: ended.signal,
        async identify() {
          const id = await identify(connection.socket, ended.signal)
          ended.signal.throwIfAborted()
          if (!id || (own.caller && id !== own.caller)) throw unknownCaller()
          strangers.remove(connection)
          if (!own.caller) {
            count(calls, id)
            own.caller = id
          }
          return id
        },
        throwIfUnknown() {
          if (ended.signal.reason instanceof AgentError) throw ended.signal.reason
        },
        [Symbol.dispose]() {
          end()
          if (own.caller) uncount(calls, own.caller)
          own.caller = undefined
        },
      }
    },

    rejudge() {
      for (const { socket, calls: open, closed } of connections.values()) {
        if (open.size === 0) continue
        identify(socket, closed.signal).then(
          (id) => endOthers(open, id),
          () => !closed.signal.aborted && socket.destroy(),
        )
      }
    },

    close() {
      for (const { socket } of connections.values()) socket.destroy()
    },
    connections: () => connections.size,
    calls: () => [...calls.values()].reduce((sum, each) => sum + each, 0),
  }
}

function endAll({ closed, calls }: Connection, reason: unknown): void {
  closed.abort(reason)
  for (const { ended } of calls) ended.abort(reason)
  calls.clear()
}

/** Those that began as somebody else; who is not known yet will be judged at his first message. */
function endOthers(calls: Iterable<Call>, id: SpiffeId | undefined): void {
  for (const { caller, ended } of calls) {
    if (caller && caller !== id) ended.abort(unknownCaller())
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
