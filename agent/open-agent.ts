import { Server, ServerCredentials } from '@grpc/grpc-js'
import type { SpiffeId } from '#ca/spiffe/index.ts'
import type { DenyList, TrustBundle } from '#ca/x509/index.ts'
import type { Live } from '#core/live.ts'
import { keepAttested } from './attest/keep-attested.ts'
import type { NodeState } from './attest/node.ts'
import { type Callers, createCallers } from './callers.ts'
import { type AgentConfig, checkConfig } from './config.ts'
import { type AgentDeps, type Core, codeOf, createCore, type Rotation } from './core.ts'
import { type AgentHealth, type HealthInput, healthOf } from './health.ts'
import { type Listening, listenOnSocket } from './listen.ts'
import { SecretDiscoveryServiceService } from './proto/gen/envoy/service/secret/v3/sds.ts'
import { createSds } from './sds/serve.ts'
import type { HeldSvid } from './svid/rotation.ts'
import { trustCalls, trustService } from './trust/serve.ts'
import { workloadApiCalls, workloadApiService } from './workload-api/serve.ts'

export interface Agent extends AsyncDisposable {
  readonly socketPath: string
  /** The node's standing with the CA: what to show, and when a new join token is needed. */
  readonly node: Live<NodeState>
  readonly bundle: Live<TrustBundle>
  /** What is not trusted although `bundle` vouches for it. */
  readonly denials: Live<DenyList>
  /**
   * Proves the node to the CA; tries until the CA is there. Only needed without `joinToken`, or
   * after {@link Agent.node} has become `unattested` again.
   *
   * @throws {AgentError} `AGENT_ATTESTATION_REFUSED`
   */
  readonly attest: (joinToken: string) => Promise<void>
  readonly health: () => AgentHealth
  /** Milliseconds by which the CA's clock is ahead of ours, negative if behind; `undefined` before its first answer. */
  readonly clockOffsetMs: () => number | undefined
  /** Prometheus text. */
  readonly metrics: () => Promise<string>
  /** The SVIDs in force for workloads of this node. */
  readonly held: () => readonly HeldSvid[]
  /** Told of each workload SVID that comes into force, the first ones too. */
  readonly onRotated: (listener: (rotation: Rotation) => void) => void
  /**
   * To be called when somebody is not who he was, or not known any more: his streams end with
   * PermissionDenied. Otherwise that is found out at the next message to him.
   */
  readonly callersChanged: () => void
  /** Calls being answered and connections open: zero of both when every caller is gone. */
  readonly load: () => { readonly calls: number; readonly connections: number }
}

/** Bytes of one message from a caller: a subscription with an error text. */
const MAX_REQUEST_BYTES = 65_536

const SERVER_OPTIONS = {
  'grpc.max_receive_message_length': MAX_REQUEST_BYTES,
  'grpc.max_concurrent_streams': 64,
  'grpc.max_metadata_size': 8192,
  'grpc.enable_channelz': 0, // nobody asks; each call would be counted, and its counters kept
}

/**
 * Opens a node agent: its socket serves at once, and answers as soon as the node is attested.
 * With `config.joinToken` or `config.proof` it resolves when that is so.
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
  const { joinToken: token, proof } = config
  if (token === undefined && !proof) return agent
  try {
    const { signal = ending.signal } = deps
    await core.node.attest(proof ?? { kind: 'join-token', token: token ?? '' }, signal)
    if (proof) void keepAttested(core.node, proof, deps, ending.signal)
    return agent
  } catch (cause) {
    await agent[Symbol.asyncDispose]()
    throw cause
  }
}

async function serve(
  server: Server,
  config: AgentConfig,
  deps: AgentDeps,
  core: Core,
  signal: AbortSignal,
): Promise<{ readonly listening: Listening; readonly callers: Callers }> {
  const { metrics, cache, tokens, trust, followers, now } = core
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
  const stale = (id: SpiffeId, nonce: string): void =>
    log('debug', 'sds-stale-nonce', { id, nonce: nonce.slice(0, 64) })
  const { bundle } = trust
  const told = { refused, rejected, stale }
  const shared = { callers, cache, tokens, trust, followers, bundle, now, clock, ...told }
  server.addService(workloadApiService, workloadApiCalls(shared))
  server.addService(SecretDiscoveryServiceService, createSds(shared))
  server.addService(trustService, trustCalls(shared))

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
  const { node, trust, cache, skew, metrics, listeners, signal, now } = core
  const { bundle, denials } = trust
  return {
    socketPath,
    node: node.state,
    bundle,
    denials,
    attest: (token) => node.attest({ kind: 'join-token', token }, signal),
    health: () => healthOf(healthInput(core), now()),
    clockOffsetMs: core.skew.offsetMs,
    held: cache.held,
    onRotated: (listener) => void listeners.add(listener),
    callersChanged: callers.rejudge,
    load: () => ({ calls: callers.calls(), connections: callers.connections() }),
    metrics() {
      metrics.set('redoubt_agent_bundle_generation', gauge(bundle.current.generation))
      metrics.set('redoubt_agent_deny_list_generation', gauge(denials.current.generation))
      const denied = denials.current.entries.filter(({ lifted }) => !lifted)
      metrics.set('redoubt_agent_deny_list_entries', gauge(denied.length))
      metrics.set('redoubt_agent_clock_offset_seconds', gauge((skew.offsetMs() ?? 0) / 1000))
      metrics.set('redoubt_agent_identities', [
        { labels: { state: 'ready' }, value: cache.held().length },
        { labels: { state: 'waiting' }, value: cache.waiting().length },
      ])
      metrics.set('redoubt_agent_proof_expires_in_seconds', proofRows(core))
      metrics.set('redoubt_agent_connections', gauge(callers.connections()))
      metrics.set('redoubt_agent_calls', gauge(callers.calls()))
      const held = inForce(core)
      metrics.set('redoubt_agent_svid_not_after_seconds', notAfterRows(held))
      metrics.set('redoubt_agent_svid_renewal_due_seconds', renewalRows(held))
      metrics.set('redoubt_agent_renewal_overdue_seconds', gauge(overdueSeconds(held, now())))
      return metrics.render()
    },
    [Symbol.asyncDispose]: close,
  }
}

function healthInput({ node, cache, skew, proof }: Core): HealthInput {
  const [held, waiting] = [cache.held(), cache.waiting()]
  return { node: node.state.current, held, waiting, skew: skew.reason(), proof: proof.reason() }
}

function proofRows({ proof: { kind, endsAt }, now }: Core) {
  const end = endsAt()
  if (!end) return []
  return [{ labels: { kind }, value: (end.epochMilliseconds - now().epochMilliseconds) / 1000 }]
}

function gauge(value: number) {
  return [{ labels: {}, value }]
}

/** This node's own certificate and those of its workloads. */
function inForce({ node, cache }: Core): readonly InForce[] {
  const { current } = node.state
  return [...(current.kind === 'attested' ? [current] : []), ...cache.held()]
}

type InForce = Pick<HeldSvid, 'svid' | 'renewAt'>

function overdueSeconds(held: readonly InForce[], now: Temporal.Instant): number {
  const dueMs = Math.min(...held.map(({ renewAt }) => renewAt.epochMilliseconds))
  return Math.max(0, (now.epochMilliseconds - dueMs) / 1000)
}

function renewalRows(held: readonly InForce[]) {
  return held.map(({ svid, renewAt }) => ({
    labels: { spiffe_id: svid.id },
    value: renewAt.epochMilliseconds / 1000,
  }))
}

function notAfterRows(held: readonly InForce[]) {
  return held.map(({ svid }) => ({
    labels: { spiffe_id: svid.id },
    value: svid.life.notAfter.epochMilliseconds / 1000,
  }))
}
