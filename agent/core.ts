/** Everything of an agent but its socket: its standing with the CA, its bundle, its workloads' SVIDs. */
import { serviceAccountId, type SpiffeId, type TrustDomain } from '#ca/spiffe/index.ts'
import type { TrustBundle } from '#ca/x509/index.ts'
import type { Clock } from '#core/clock.ts'
import { createLive, type Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import { createNode, type Node, type NodeState } from './attest/node.ts'
import { type AuthorityConnection, connectAuthority } from './authority/connection.ts'
import { keepBundle } from './bundle/keep-bundle.ts'
import type { Identify } from './callers.ts'
import type { AgentConfig } from './config.ts'
import { AgentError } from './error.ts'
import { acceptToken, type IssuedToken, type TokenRequest } from './jwt/issued-token.ts'
import { createTokenCache, type TokenCache } from './jwt/token-cache.ts'
import { type AgentMetrics, createMetrics } from './metrics.ts'
import { createBatcher } from './svid/batch.ts'
import { createSvidCache, type SvidCache } from './svid/cache.ts'
import { acceptSvid, createRequest, type IssuedSvid, type SvidRequest } from './svid/issued-svid.ts'

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

/** What an agent is made of. */
export interface Core {
  readonly node: Node
  readonly bundle: Live<TrustBundle>
  readonly cache: SvidCache
  readonly tokens: TokenCache
  readonly metrics: AgentMetrics
  readonly listeners: Set<(rotation: Rotation) => void>
  readonly signal: AbortSignal
  readonly now: () => Temporal.Instant
}

/** @param signal - Ends all of it. */
export function createCore(config: AgentConfig, deps: AgentDeps, signal: AbortSignal): Core {
  const { trustDomain, caAddress: address, caId = authorityId(trustDomain) } = config
  const { clock, now, caRoots } = deps
  const metrics = createMetrics()
  const listeners: Core['listeners'] = new Set()
  const bundle = createLive<TrustBundle>({ trustDomain, generation: 0, roots: caRoots })
  const failed = (cause: unknown): void =>
    metrics.add('redoubt_agent_rotations_total', { result: 'failed', reason: codeOf(cause) })

  const ask = async <Answer>(
    question: (connection: AuthorityConnection) => Promise<Answer>,
    until: AbortSignal,
  ): Promise<Answer> => {
    await attested(node.state, until)
    // Read in the turn of the call: a channel that has been replaced meanwhile takes no more calls.
    return question(connectionOf(node)).catch((cause: unknown) => {
      if (cause instanceof AgentError && cause.code === 'AGENT_NOT_ATTESTED') {
        node.disown(cause.message)
      }
      throw cause
    })
  }

  const issue = createBatcher<SvidRequest, IssuedSvid>(async (requests, until) => {
    const answers = await ask((connection) => connection.issue(requests, until), until)
    const trust = { bundles: [bundle.live.current], now: now() }
    return requests.map((request, index) => {
      const answer = answers[index] ?? { chain: [], issuedAt: trust.now }
      return judged(answer, (good) => acceptSvid(request, good, trust))
    })
  }, signal)

  const issueToken = createBatcher<TokenRequest, IssuedToken>(async (requests, until) => {
    const answers = await ask((connection) => connection.issueTokens(requests, until), until)
    const trust = { bundle: bundle.live.current, now: now() }
    return requests.map((request, index) => {
      const answer = answers[index] ?? { token: '', issuedAt: trust.now }
      return judged(answer, (good) => acceptToken(request, good, trust))
    })
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
  const tokens = createTokenCache({
    ...deps,
    bundle: bundle.live,
    issue: (id, audience) => issueToken({ id, audience }),
  })
  return { node, bundle: bundle.live, cache, tokens, metrics, listeners, signal, now }
}

/** What `accept` makes of an answer; a refusal and an answer that is not believed stay errors of one request. */
function judged<Answer, Accepted>(
  answer: Answer | AgentError,
  accept: (answer: Answer) => Accepted,
): Accepted | AgentError {
  if (answer instanceof AgentError) return answer
  try {
    return accept(answer)
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
