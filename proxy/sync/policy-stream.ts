/**
 * Configuration as it streams in from the policy server: what has been met is subscribed to, what
 * comes is compiled and only then put in force, what does not compile is refused with its reason
 * and leaves the last good version where it was.
 */
import type { Svid } from '#agent/client/index.ts'
import type { SpiffeId } from '#ca/spiffe/index.ts'
import { backoff } from '#core/backoff.ts'
import type { Clock } from '#core/clock.ts'
import type { Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import { createCompileMemory } from '#policy/casbin/index.ts'
import type { CompiledGateway } from '../gateway/compile.ts'
import { applyAll } from './apply.ts'
import type { CompiledDestination, CompiledInbound } from './compiled.ts'
import { createDestinations } from './destinations.ts'
import { connectPolicy, type PolicyConnection } from './policy-client.ts'
import { createResource, type Resource } from './resource.ts'
import {
  answerToProto,
  hellosToProto,
  keysWantedToProto,
  receivedFromProto,
  subscribeToProto,
  unsubscribeToProto,
} from './wire.ts'

export type { CompiledDestination, CompiledInbound } from './compiled.ts'

export interface PolicyStreamDeps {
  readonly svid: Live<Svid>
  /** `host:port` of the policy server. */
  readonly address: string
  /** Who must answer there. */
  readonly policyId: SpiffeId
  readonly workload: { readonly namespace: string; readonly name: string }
  /** Whether it is a gateway. @default false */
  readonly isGateway?: boolean
  readonly now: () => Temporal.Instant
  readonly clock: Clock
  /** Numbers in [0, 1). */
  readonly random: () => number
  readonly log: Log
}

/** One resource, for `/config_dump`. */
export interface HeldResource {
  readonly name: string
  /** Version last received; '' before the first. */
  readonly desired: string
  /** Version in force; '' when none. */
  readonly applied: string
  /** Why the newest one is not in force. */
  readonly rejected?: { readonly version: string; readonly reason: string }
}

export interface PolicySession {
  /** `undefined` until the first bundle compiled. A later one that does not leaves the last good one. */
  readonly inbound: Live<CompiledInbound | undefined>
  /**
   * How `host:port` is reached, `host` in lower case. The first call subscribes; `undefined` until
   * the policy server answers. Read `.current` for each request: that is also what keeps it subscribed.
   */
  readonly destination: (host: string, port: number) => Live<CompiledDestination | undefined>
  /** Only of a gateway; `undefined` until the first bundle compiled. */
  readonly gateway?: Live<CompiledGateway | undefined> | undefined
  readonly isConnected: () => boolean
  readonly held: () => readonly HeldResource[]
  /** All destinations that are in force, for `/clusters`. */
  readonly destinations: () => readonly CompiledDestination[]
}

/** Milliseconds that a connection has to come up. */
const CONNECT_TIMEOUT_MS = 5_000
const BACKOFF = { baseMs: 50, maxMs: 2_000 }
/** Between two requests for newer keys of one issuer. */
const KEYS_WANTED_MS = 30_000

/**
 * Holds one stream to the policy server for as long as `signal` lets it, through every failure of
 * the server.
 */
export function openPolicyStream(deps: PolicyStreamDeps, signal: AbortSignal): PolicySession {
  const { namespace, name } = deps.workload
  const inbound = createResource<CompiledInbound>(`inbound/${namespace}/${name}`)
  const gateway = deps.isGateway
    ? createResource<CompiledGateway>(`gateway/${namespace}/${name}`)
    : undefined
  const own = gateway === undefined ? [inbound] : [inbound, gateway]
  const memory = createCompileMemory()
  let current: PolicyConnection | undefined
  const onKeysWanted = atMostEach(KEYS_WANTED_MS, deps.clock, (issuer) =>
    current?.stream.write(keysWantedToProto(issuer)),
  )
  /** Whether this connection was worth its while, so that the next one comes soon. */
  let wasUp = false
  const destinations = createDestinations({
    onSubscribe: (met) => current?.stream.write(subscribeToProto([met])),
    onUnsubscribe: (left) => current?.stream.write(unsubscribeToProto([left])),
  })

  async function converse(): Promise<void> {
    using connection = connectPolicy(deps)
    const abort = (): void => connection.stream.cancel()
    signal.addEventListener('abort', abort)
    const ended = new AbortController()
    const limit = AbortSignal.any([ended.signal, signal])
    onceTimeIsUp(deps.clock, limit, () => {
      // A server that accepts and then says nothing would be waited for until TCP gives up.
      if (!connection.isUp()) connection.stream.cancel()
      else wasUp = true
    })
    try {
      current = connection
      const hellos = hellosToProto(deps.workload, [...own, ...destinations.all()])
      for (const message of hellos) connection.stream.write(message)
      for await (const message of connection.stream) {
        wasUp = true
        const received = receivedFromProto(message)
        const table = { inbound, gateway, destinations, memory, onKeysWanted }
        const refused = await applyAll(received, table, deps)
        connection.stream.write(answerToProto(received.nonce, refused))
      }
    } finally {
      ended.abort()
      signal.removeEventListener('abort', abort)
      current = undefined
    }
  }

  async function run(): Promise<void> {
    for (let waits = backoff({ ...BACKOFF, random: deps.random }); !signal.aborted; ) {
      const why = await converse().then(
        () => 'the server ended the stream',
        (cause: unknown) => (cause instanceof Error ? cause.message : String(cause)),
      )
      if (wasUp) waits = backoff({ ...BACKOFF, random: deps.random })
      wasUp = false
      const waitMs = waits.next().value
      if (signal.aborted) return
      deps.log('warn', 'policy-stream-lost', { waitMs: Math.round(waitMs), why })
      await deps.clock.sleep(waitMs, signal)
    }
  }

  // Ends with `signal` alone, and then nobody waits for it.
  run().catch(() => {})
  return {
    inbound: inbound.live,
    gateway: gateway?.live,
    destination: destinations.meet,
    isConnected: () => current?.isUp() ?? false,
    held: () => [...own, ...destinations.all()].map(heldOf),
    destinations: () =>
      destinations.all().flatMap(({ live }) => (live.current === undefined ? [] : [live.current])),
  }
}

/** `act` for each name, and no more often than every `everyMs` for one; those between are dropped. */
function atMostEach(
  everyMs: number,
  clock: Clock,
  act: (name: string) => void,
): (name: string) => void {
  const lastMs = new Map<string, number>()
  return (name) => {
    const nowMs = clock.nowMs()
    if (nowMs - (lastMs.get(name) ?? Number.NEGATIVE_INFINITY) < everyMs) return
    lastMs.set(name, nowMs)
    act(name)
  }
}

type AnyResource =
  | Resource<CompiledInbound>
  | Resource<CompiledGateway>
  | Resource<CompiledDestination>

function heldOf({ name, desired, applied, rejected }: AnyResource): HeldResource {
  return { name, desired, applied, ...(rejected && { rejected }) }
}

function onceTimeIsUp(clock: Clock, signal: AbortSignal, then: () => void): void {
  clock.sleep(CONNECT_TIMEOUT_MS, signal).then(then, () => {
    // The stream ended first.
  })
}
