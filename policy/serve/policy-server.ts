/** The policy server: one gRPC service over connections that somebody else accepted. */
import { Server, ServerCredentials, status as grpcStatus } from '@grpc/grpc-js'
import type { Duplex } from 'node:stream'
import { setImmediate } from 'node:timers/promises'

import type { SpiffeId } from '#ca/spiffe/index.ts'
import type { Clock } from '#core/clock.ts'
import type { Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import type { CasbinRows } from '../assemble/casbin.ts'
import type { Intent, WorkloadInstance } from '../model/intent.ts'
import { PolicyDiscoveryService } from '../proto/gen/policy.ts'
import type { KeySets } from './key-sets.ts'
import { createPolicyMetrics } from './metrics.ts'
import { createResources } from './resources.ts'
import { type ResourceStatus, type SubscriberStatus, statusOf } from './status.ts'
import { type Call, type SidecarStream, serveStream } from './stream.ts'
import type { Answer, StreamState } from './stream-state.ts'

/** Bytes of one message from a sidecar: some thousand names. */
const MAX_MESSAGE_BYTES = 1024 * 1024
/** Streams at a time on one connection; a sidecar needs one, and one more while it replaces it. */
const MAX_STREAMS = 4
/** A sidecar that is gone without a word is found out after this. */
const KEEPALIVE_MS = 10_000
/** Milliseconds of one push without letting anything else run. */
const MAX_TURN_MS = 20

export interface PolicyServerDeps {
  readonly intent: Live<Intent>
  readonly instances: Live<readonly WorkloadInstance[]>
  /** Key sets that RequestAuthentications name by URI (`openKeySets`). @default none can be had */
  readonly keySets?: Live<KeySets>
  /** A sidecar met a token with a key that the fetched set of `issuer` lacks. @default nothing is done */
  readonly onKeysWanted?: (issuer: string) => void
  /** Lines of CasbinPolicies in databases (`openCasbinRows`). @default none was read */
  readonly casbinRows?: Live<CasbinRows>
  readonly clock: Clock
  /** Numbers in [0, 1). */
  readonly random: () => number
  readonly log: Log
}

export interface PolicyEvent {
  readonly kind: 'connected' | 'disconnected' | 'applied' | 'rejected'
  /** `namespace/name`. */
  readonly workload: string
  /** Of the resource; absent for connections. */
  readonly name?: string
  readonly version?: string
  /** Why it was rejected. */
  readonly reason?: string
}

export interface PolicyServer extends AsyncDisposable {
  /** Serves gRPC on `socket`, whose TLS has proved `peer`. */
  readonly accept: (socket: Duplex, peer: SpiffeId) => void
  readonly status: () => readonly SubscriberStatus[]
  /** Calls `listener` at each event until the returned function is called. */
  readonly onEvent: (listener: (event: PolicyEvent) => void) => () => void
  readonly health: () => { readonly ready: boolean; readonly reasons: readonly string[] }
  /** Prometheus text. */
  readonly metrics: () => Promise<string>
}

/** Starts to serve; connections come through `accept`. Disposing ends every stream. */
export function openPolicyServer(deps: PolicyServerDeps): PolicyServer {
  const { intent, instances, clock, random, log } = deps
  const closing = new AbortController()
  const metrics = createPolicyMetrics()
  const peers = new Map<string, SpiffeId>()
  const streams = new Set<SidecarStream>()
  const lastStates = new Map<string, StreamState>()
  const listeners = new Set<(event: PolicyEvent) => void>()
  const world = (): ReturnType<typeof createResources> =>
    createResources({
      intent: intent.current,
      instances: instances.current,
      ...(deps.keySets && { keySets: deps.keySets.current }),
      ...(deps.casbinRows && { casbinRows: deps.casbinRows.current }),
    })
  let resources = world()
  let connections = 0

  const emit = (event: PolicyEvent): void => {
    for (const listener of listeners) listener(event)
  }
  const onStream = (call: Call): void => {
    const peer = peers.get(call.getPeer())
    if (!peer || closing.signal.aborted) {
      call.emit('error', {
        code: grpcStatus.UNAUTHENTICATED,
        details: 'Cannot serve: the connection proved nobody',
      })
      return
    }
    serveStream(call, peer, {
      // An answer meant for an earlier stream must not pass for one to this.
      noncePrefix: `${Math.floor(random() * 2 ** 40).toString(36)}-`,
      resources: () => resources,
      onReady(stream) {
        streams.add(stream)
        metrics.streams(streams.size)
        emit({ kind: 'connected', workload: workloadOf(stream) })
      },
      onAnswer(stream, answer) {
        metrics.answered(answer.kind)
        if (answer.kind === 'rejected')
          log('warn', 'bundle-rejected', rejectionFields(stream, answer))
        const { kind, name, version, reason } = answer
        emit({
          kind,
          workload: workloadOf(stream),
          name,
          version,
          ...(reason === undefined ? {} : { reason }),
        })
      },
      onSent: metrics.pushed,
      onKeysWanted: (issuer) => deps.onKeysWanted?.(issuer),
      onEnd(stream, refusal) {
        if (refusal) {
          metrics.refused(grpcStatus[refusal.code])
          log('warn', 'policy-stream-refused', { peer, reason: refusal.reason })
        }
        if (!stream) return
        streams.delete(stream)
        metrics.streams(streams.size)
        lastStates.set(workloadOf(stream), stream.state())
        emit({ kind: 'disconnected', workload: workloadOf(stream) })
      },
    })
  }

  const server = new Server({
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_concurrent_streams': MAX_STREAMS,
    'grpc.keepalive_time_ms': KEEPALIVE_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_MS,
  })
  server.addService(PolicyDiscoveryService, { stream: onStream })
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure())

  /** Turns each newer state of the world into what every stream lacks. One failure stops no other stream. */
  const push = async (): Promise<void> => {
    const startedMs = clock.nowMs()
    let turnMs = startedMs
    resources = world()
    for (const stream of streams) {
      // Other streams' answers, and health checks, do not wait for a thousand sidecars.
      if (clock.nowMs() - turnMs > MAX_TURN_MS) {
        await setImmediate()
        turnMs = clock.nowMs()
      }
      try {
        stream.refresh()
      } catch (cause) {
        log('error', 'policy-push-failed', { workload: workloadOf(stream), cause: String(cause) })
      }
    }
    const running = new Set(instances.current.map(({ namespace, name }) => `${namespace}/${name}`))
    for (const workload of lastStates.keys()) {
      if (!running.has(workload)) lastStates.delete(workload)
    }
    metrics.pushTook(clock.nowMs() - startedMs)
  }
  const follow = async (source: Live<unknown>): Promise<void> => {
    for await (const _ of source.changes(closing.signal)) await push()
  }
  const following = [intent, instances, deps.keySets, deps.casbinRows]
    .filter((source) => source !== undefined)
    .map(follow)

  return {
    accept(socket, peer) {
      if (closing.signal.aborted) return void socket.destroy()
      connections += 1
      // grpc-js gives the remote address back at each call: the link to what TLS proved.
      const name = `connection-${connections}`
      Object.defineProperty(socket, 'remoteAddress', { value: name })
      Object.defineProperty(socket, 'remotePort', { value: undefined })
      peers.set(name, peer)
      socket.on('close', () => peers.delete(name))
      socket.on('error', () => {}) // the close that follows says all there is to say
      injector.injectConnection(socket)
    },
    status: () =>
      statusOf({
        instances: instances.current,
        streams: [...streams],
        lastStates,
        resources,
        trustDomain: intent.current.mesh.trustDomain,
      }),
    onEvent(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    health: () =>
      closing.signal.aborted
        ? { ready: false, reasons: ['it is closing'] }
        : { ready: true, reasons: [] },
    metrics: metrics.render,
    async [Symbol.asyncDispose]() {
      closing.abort()
      for (const stream of streams) stream.end()
      injector.destroy()
      server.forceShutdown()
      await Promise.all(following)
    },
  }
}

function workloadOf({ subscriber }: SidecarStream): string {
  return `${subscriber.namespace}/${subscriber.workload}`
}

function rejectionFields(
  stream: SidecarStream,
  { name, version, reason = '' }: Answer,
): Record<string, string> {
  return { workload: workloadOf(stream), name, version, reason }
}

export type { ResourceStatus, SubscriberStatus }
