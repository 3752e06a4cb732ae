/** Everything of an agent but its socket: its standing with the CA, its bundle, its workloads' SVIDs. */
import { serviceAccountId, type SpiffeId, type TrustDomain } from '#ca/spiffe/index.ts'
import { findDenied } from '#ca/x509/index.ts'
import type { Clock } from '#core/clock.ts'
import type { Log } from '#core/log.ts'
import { createNode, type Node } from './attest/node.ts'
import { revokedReason } from './attest/revoked.ts'
import { type ProofWatch, watchProof } from './attest/watch-proof.ts'
import {
  type AuthorityConnection,
  type ConnectionOptions,
  connectAuthority,
} from './authority/connection.ts'
import type { Identify } from './callers.ts'
import { type ClockSkew, createClockSkew } from './clock-skew.ts'
import type { AgentConfig } from './config.ts'
import { AgentError } from './error.ts'
import { createIssuers } from './issuers.ts'
import { createTokenCache, type TokenCache } from './jwt/token-cache.ts'
import { type AgentMetrics, createMetrics } from './metrics.ts'
import { createSvidCache, type SvidCache } from './svid/cache.ts'
import { createRequest, type IssuedSvid } from './svid/issued-svid.ts'
import { watchClock } from './svid/watch-clock.ts'
import { createFollowers, type Followers } from './trust/followers.ts'
import { keepTrust } from './trust/keep-trust.ts'
import { createTrust, type Trust } from './trust/trust.ts'

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
  /** Gives up proving the node at the start. */
  readonly signal?: AbortSignal
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

/** What an agent is made of. */
export interface Core {
  readonly node: Node
  readonly trust: Trust
  readonly followers: Followers
  readonly cache: SvidCache
  readonly tokens: TokenCache
  readonly skew: ClockSkew
  readonly proof: ProofWatch
  readonly metrics: AgentMetrics
  readonly listeners: Set<(rotation: Rotation) => void>
  readonly signal: AbortSignal
  readonly now: () => Temporal.Instant
}

/** @param signal - Ends all of it. */
export function createCore(config: AgentConfig, deps: AgentDeps, signal: AbortSignal): Core {
  const { trustDomain, ownTtl = OWN_TTL } = config
  const { now, caRoots } = deps
  const metrics = createMetrics()
  const listeners: Core['listeners'] = new Set()
  const trust = createTrust({ trustDomain, generation: 0, roots: caRoots }, deps)
  const followers = createFollowers()
  const skew = createClockSkew(deps.log)
  const jump = watchClock({ ...deps, jumped: () => metrics.add(JUMPS, {}) }, signal)
  const failed = (cause: unknown): void =>
    metrics.add('redoubt_agent_rotations_total', { result: 'failed', reason: codeOf(cause) })

  const issuers = createIssuers({ node: () => node, trust, skew, now }, signal)
  const connect = connecting(config, { ...deps, trust, followers, skew })
  const own = { agentId: config.agentId, ownTtl, trust, skew, connect, issue: issuers.svid }
  const node: Node = createNode({ ...deps, ...own, jump, failed }, signal)
  const disown = (cause: unknown): void => {
    // What it hears first who was away while its certificate was revoked.
    if (codeOf(cause) === 'AGENT_NOT_ATTESTED') node.disown((cause as AgentError).message)
  }
  void keepTrust({ ...deps, node: node.state, failed: disown }, signal)

  const cache = createSvidCache(
    {
      ...deps,
      jump,
      isSuperseded: (svid) => isSuperseded(trust, svid),
      issue: async (id) => issuers.svid(await createRequest(id)),
      failed: (_id, cause) => failed(cause),
      rotated({ svid, renewAt }, first) {
        const { id: spiffeId, serial, life } = svid
        metrics.add('redoubt_agent_rotations_total', { result: 'taken', reason: '' })
        for (const listener of listeners) listener({ spiffeId, serial, ...life, renewAt, first })
      },
    },
    signal,
  )
  const tokens = createTokenCache({
    ...deps,
    bundle: trust.bundle,
    issue: (id, audience) => issuers.token({ id, audience }),
  })
  const proof = watchProof(config.proof, deps, signal)
  const told = { skew, proof, metrics, listeners }
  const core = { node, trust, followers, cache, tokens, ...told, signal, now }
  followTrust(core)
  return core
}

function followTrust(core: Core): void {
  void dropDenied(core)
  void renewSuperseded(core)
}

const JUMPS = 'redoubt_agent_clock_jumps_total'

/** Life that a node asks for itself. */
const OWN_TTL = Temporal.Duration.from({ hours: 1 })

function connecting(
  { trustDomain, caAddress: address, caId = authorityId(trustDomain), ...config }: AgentConfig,
  deps: Omit<ConnectionOptions, 'address' | 'caId' | 'trustDomain' | 'name' | 'own'>,
): (own: IssuedSvid | undefined) => AuthorityConnection {
  const name = config.name ?? config.socketPath
  return (own) => connectAuthority({ ...deps, address, caId, trustDomain, name, own })
}

/** What is denied is served no more, and replaced; a node that is has to prove itself again. */
async function dropDenied({ node, trust, cache, tokens, signal, now }: Core): Promise<void> {
  for await (const _ of trust.denials.changes(signal)) {
    const { denies } = trust.current()
    const deniedOf = (svid: IssuedSvid) => findDenied(denies, svid, now())
    cache.replace((svid) => deniedOf(svid) !== undefined)
    tokens.forget((id) => denies?.('spiffe-id', id, now()) === true)
    const { current } = node.state
    const denied = current.kind === 'attested' ? deniedOf(current.svid) : undefined
    if (denied) node.disown(revokedReason(denied))
  }
}

/** What was signed by a key that the CA has left is renewed while that key is good still. */
async function renewSuperseded({ node, trust, cache, signal }: Core): Promise<void> {
  for await (const _ of trust.bundle.changes(signal)) {
    cache.renew()
    const { current } = node.state
    if (current.kind === 'attested' && isSuperseded(trust, current.svid)) node.renew()
  }
}

function isSuperseded({ bundle }: Trust, { keyIds }: IssuedSvid): boolean {
  return bundle.current.renewKeys?.some((keyId) => keyIds.includes(keyId)) ?? false
}

function authorityId(trustDomain: TrustDomain): SpiffeId {
  return serviceAccountId(trustDomain, {
    namespace: 'redoubt-system',
    serviceAccount: 'redoubt-ca',
  })
}

/** The stable reason of a failure, for metrics. */
export function codeOf(cause: unknown): string {
  return cause instanceof AgentError ? cause.code : 'unforeseen'
}
