import { Server, ServerCredentials } from '@grpc/grpc-js'
import { serviceAccountId, type SpiffeId, type TrustDomain } from '#ca/spiffe/index.ts'
import type { TrustBundle } from '#ca/x509/index.ts'
import type { Clock } from '#core/clock.ts'
import { createLive, type Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import { createNode, type Node, type NodeState } from './attest/node.ts'
import { type AuthorityConnection, connectAuthority } from './authority/connection.ts'
import { keepBundle } from './bundle/keep-bundle.ts'
import { type Callers, createCallers, type Identify } from './callers.ts'
import { type AgentConfig, checkConfig } from './config.ts'
import { AgentError } from './error.ts'
import { type Listening, listenOnSocket } from './listen.ts'
import { type AgentMetrics, createMetrics } from './metrics.ts'
import { SecretDiscoveryServiceService } from './proto/gen/envoy/service/secret/v3/sds.ts'
import { SpiffeWorkloadAPIService } from './proto/gen/workload.ts'
import { createSds } from './sds/serve.ts'
import { createBatcher } from './svid/batch.ts'
import { createSvidCache, type HeldSvid, type SvidCache } from './svid/cache.ts'
import { acceptSvid, createRequest, type IssuedSvid, type SvidRequest } from './svid/issued-svid.ts'
import { createWorkloadApi } from './workload-api/serve.ts'

export interface AgentDeps {
  readonly clock: Clock
  readonly now: () => Temporal.Instant
  readonly random: () => number
  readonly log: Log
  /** DER; what the CA is judged by until its first bundle. */
  readonly caRoots: readonly Uint8Array[]
  /**
   * Who is behind a connection, or `undefined` for nobody. Called in the turn in which the socket
   * was accepted, and again before anything is sent to it.
   */
  readonly identify: Identify
}

/** An SVID that has come into force. */
export interface Rotation {
  readonly spiffeId: SpiffeId
  /** Lower-case hex. */
  readonly serial: string
  readonly issuedAt: Temporal.Instant
  readonly notAfter: Temporal.Instant
  /** When its successor is due. */
  readonly renewAt: Temporal.Instant
  /** `true`: there was none before it. */
  readonly first: boolean
}

export interface AgentHealth {
  readonly ready: boolean
  /** Whole sentences without full stop; empty when ready. */
  readonly reasons: readonly string[]
}

export interface Agent extends AsyncDisposable {
  readonly socketPath: string
  /** The node's standing with the CA: what to show, and when a new join token is needed. */
  readonly node: Live<NodeState>
  readonly bundle: Live<TrustBundle>
  /**
   * Proves the node to the CA; tries until the CA is there. Only needed without `joinToken`, or
   * after {@link Agent.node} has become `unattested` again.
   *
   * @throws {AgentError} `AGENT_ATTESTATION_REFUSED`
   */
  readonly attest: (joinToken: string) => Promise<void>
  readonly health: () => AgentHealth
  /** Prometheus text. */
  readonly metrics: () => Promise<string>
  /** The SVIDs in force for workloads of this node. */
  readonly held: () => readonly HeldSvid[]
  /** Told of each workload SVID that comes into force, the first ones too. */
  readonly onRotated: (listener: (rotation: Rotation) => void) => void
  /** Calls being answered and connections open: zero of both when every caller is gone. */
  readonly load: () => { readonly calls: number; readonly connections: number }
}

/** Bytes of one message from a caller: a subscription with an error text. */
const MAX_REQUEST_BYTES = 65_536

const SERVER_OPTIONS = {
  'grpc.max_receive_message_length': MAX_REQUEST_BYTES,
  'grpc.max_concurrent_streams': 64,
  'grpc.max_metadata_size': 8192,
}

/**
 * Opens a node agent: its socket serves at once, and answers as soon as the node is attested.
 * With `config.joinToken` it resolves when that is so.
 *
 * @throws {AgentError} `AGENT_CONFIG_INVALID`, `AGENT_SOCKET_UNUSABLE`, `AGENT_ATTESTATION_REFUSED`
 */
export async function openAgent(config: AgentConfig, deps: AgentDeps): Promise<Agent> {
  checkConfig(config)
  const ending = new AbortController()
  const core = createCore(config, deps, ending.signal)
  const server = new Server(SERVER_OPTIONS)
  const { listening, callers } = await serve(server, config, deps, core, ending.signal)
  const agent = agentOf(core, callers, listening, async () => {
    ending.abort(new Error('the agent is closing'))
    const closed = listening[Symbol.asyncDispose]()
    server.forceShutdown()
    callers.close()
    await closed
  })
  if (config.joinToken === undefined) return agent
  try {
    await agent.attest(config.joinToken)
    return agent
  } catch (cause) {
    await agent[Symbol.asyncDispose]()
    throw cause
  }
}

/** Everything of an agent but its socket. */
interface Core {
  readonly node: Node
  readonly bundle: Live<TrustBundle>
  readonly cache: SvidCache
  readonly metrics: AgentMetrics
  readonly listeners: Set<(rotation: Rotation) => void>
  readonly signal: AbortSignal
  readonly now: () => Temporal.Instant
}

function createCore(config: AgentConfig, deps: AgentDeps, signal: AbortSignal): Core {
  const { trustDomain, caAddress: address, caId = authorityId(trustDomain) } = config
  const { clock, now, caRoots } = deps
  const metrics = createMetrics()
  const listeners: Core['listeners'] = new Set()
  const bundle = createLive<TrustBundle>({ trustDomain, generation: 0, roots: caRoots })
  const failed = (cause: unknown): void =>
    metrics.add('redoubt_agent_rotations_total', { result: 'failed', reason: codeOf(cause) })

  const issue = createBatcher<SvidRequest, IssuedSvid>(async (requests, until) => {
    await attested(node.state, until)
    // Read in the turn of the call: a channel that has been replaced meanwhile takes no more calls.
    const answers = await connectionOf(node)
      .issue(requests, until)
      .catch((cause: unknown) => {
        if (cause instanceof AgentError && cause.code === 'AGENT_NOT_ATTESTED') {
          node.disown(cause.message)
        }
        throw cause
      })
    const trust = { bundles: [bundle.live.current], now: now() }
    return requests.map((request, index) => accept(request, answers[index], trust))
  }, signal)

  const node: Node = createNode(
    {
      ...deps,
      agentId: config.agentId,
      ownTtl: config.ownTtl ?? Temporal.Duration.from({ hours: 1 }),
      bundle,
      connect: (own) =>
        connectAuthority({ address, caId, trustDomain, own, bundle: bundle.live, clock, now }),
      issue,
      failed,
    },
    signal,
  )
  void keepBundle({ ...deps, node: node.state, failed: () => {} }, bundle, signal)

  const cache = createSvidCache(
    {
      ...deps,
      issue: async (id) => issue(await createRequest(id)),
      failed: (_id, cause) => failed(cause),
      rotated({ svid, renewAt }, first) {
        metrics.add('redoubt_agent_rotations_total', { result: 'taken', reason: '' })
        const { id: spiffeId, serial, life } = svid
        for (const listener of listeners) listener({ spiffeId, serial, ...life, renewAt, first })
      },
    },
    signal,
  )
  return { node, bundle: bundle.live, cache, metrics, listeners, signal, now }
}

function accept(
  request: SvidRequest,
  answer: Awaited<ReturnType<AuthorityConnection['issue']>>[number] | undefined,
  trust: Parameters<typeof acceptSvid>[2],
): IssuedSvid | AgentError {
  if (answer instanceof AgentError) return answer
  try {
    return acceptSvid(request, answer ?? { chain: [], issuedAt: trust.now }, trust)
  } catch (cause) {
    if (cause instanceof AgentError) return cause
    throw cause
  }
}

/** Resolves once the node is attested. @throws {AgentError} `AGENT_NOT_ATTESTED` if it closes before */
async function attested(state: Live<NodeState>, signal: AbortSignal): Promise<void> {
  for await (const { kind } of state.changes(signal)) {
    if (kind === 'attested') return
  }
  throw new AgentError('AGENT_NOT_ATTESTED', 'Cannot get SVIDs: the agent is closing')
}

function connectionOf({ state }: Node): AuthorityConnection {
  const { current } = state
  if (current.kind === 'attested') return current.connection
  throw new AgentError('AGENT_CA_UNAVAILABLE', `Cannot get SVIDs: ${current.reason}`)
}

async function serve(
  server: Server,
  config: AgentConfig,
  deps: AgentDeps,
  core: Core,
  signal: AbortSignal,
): Promise<{ readonly listening: Listening; readonly callers: Callers }> {
  const { metrics, cache, bundle, now } = core
  const { clock, log } = deps
  const callers = createCallers(deps, signal)
  const refused = (api: string, cause: unknown): void => {
    metrics.add('redoubt_agent_refused_calls_total', { api, reason: codeOf(cause) })
    log('warn', 'call-refused', { api, cause: String(cause) })
  }
  const rejected = (id: SpiffeId, version: string, reason: string): void => {
    metrics.add('redoubt_agent_sds_rejected_total', {})
    log('warn', 'sds-rejected', { id, version, reason: reason.slice(0, 200) })
  }
  const shared = { callers, cache, bundle, now, clock, refused, rejected }
  server.addService(SpiffeWorkloadAPIService, createWorkloadApi(shared))
  server.addService(SecretDiscoveryServiceService, createSds(shared))

  const injector = server.createConnectionInjector(ServerCredentials.createInsecure())
  const listening = await listenOnSocket(config.socketPath, (socket) => {
    callers.accept(socket)
    injector.injectConnection(socket)
  })
  return { listening, callers }
}

function agentOf(
  core: Core,
  callers: Callers,
  { path: socketPath }: Listening,
  close: () => Promise<void>,
): Agent {
  const { node, bundle, cache, metrics, listeners, signal, now } = core
  return {
    socketPath,
    node: node.state,
    bundle,
    attest: (joinToken) => node.attest(joinToken, signal),
    health: () => healthOf(node.state.current, cache.held(), now()),
    held: cache.held,
    onRotated: (listener) => void listeners.add(listener),
    load: () => ({ calls: callers.calls(), connections: callers.connections() }),
    metrics() {
      metrics.set('redoubt_agent_bundle_generation', gauge(bundle.current.generation))
      metrics.set('redoubt_agent_connections', gauge(callers.connections()))
      metrics.set('redoubt_agent_calls', gauge(callers.calls()))
      metrics.set('redoubt_agent_svid_not_after_seconds', notAfterRows(cache.held()))
      metrics.set('redoubt_agent_svid_renewal_due_seconds', renewalRows(cache.held()))
      return metrics.render()
    },
    [Symbol.asyncDispose]: close,
  }
}

function gauge(value: number) {
  return [{ labels: {}, value }]
}

function renewalRows(held: readonly HeldSvid[]) {
  return held.map(({ svid, renewAt }) => ({
    labels: { spiffe_id: svid.id },
    value: renewAt.epochMilliseconds / 1000,
  }))
}

function notAfterRows(held: readonly HeldSvid[]) {
  return held.map(({ svid }) => ({
    labels: { spiffe_id: svid.id },
    value: svid.life.notAfter.epochMilliseconds / 1000,
  }))
}

/** Share of a certificate's life after which a renewal that has not come is worth an alarm. */
const LATE = 0.6

/** Whether all is in time. A late renewal is told long before anything expires. */
export function healthOf(
  node: NodeState,
  held: readonly HeldSvid[],
  now: Temporal.Instant,
): AgentHealth {
  const reasons: string[] = []
  if (node.kind === 'unattested') reasons.push(`the node is not attested: ${node.reason}`)
  for (const { svid } of held) {
    const { issuedAt, notAfter } = svid.life
    const lifeMs = notAfter.epochMilliseconds - issuedAt.epochMilliseconds
    const ageMs = now.epochMilliseconds - issuedAt.epochMilliseconds
    if (ageMs <= lifeMs * LATE) continue
    reasons.push(`"${svid.id}" has not been renewed: its certificate ends at ${notAfter}`)
  }
  return { ready: reasons.length === 0, reasons }
}

function authorityId(trustDomain: TrustDomain): SpiffeId {
  return serviceAccountId(trustDomain, {
    namespace: 'redoubt-system',
    serviceAccount: 'redoubt-ca',
  })
}

function codeOf(cause: unknown): string {
  return cause instanceof AgentError ? cause.code : 'unforeseen'
}
