/** Callers for whom a Kubernetes cluster vouches: its own service accounts, by their tokens. */
import { CaError } from '../error.ts'
import {
  parseSpiffeId,
  serviceAccountId,
  type SpiffeId,
  type TrustDomain,
  trustDomainOf,
} from '../spiffe/index.ts'
import type { KnownAgent } from './join-token.ts'

/** What a cluster says of a token (Kubernetes TokenReview). */
export type TokenVerdict =
  | {
      readonly kind: 'ok'
      /** `system:serviceaccount:<namespace>:<name>`. */
      readonly username: string
      readonly groups: readonly string[]
      /** The audiences of the token that were asked for. */
      readonly audiences: readonly string[]
      /** The pod that the token is bound to, and its node; left out where it is bound to none. */
      readonly pod?: { readonly name: string; readonly uid: string }
      readonly node?: { readonly name: string; readonly uid: string }
    }
  | { readonly kind: 'refused'; readonly reason: string }

/**
 * Asks a cluster whose token it is. Rejects when the cluster cannot be asked: that is no answer.
 *
 * @param audiences - One of which the token must be for.
 */
export type ReviewToken = (token: string, audiences: readonly string[]) => Promise<TokenVerdict>

/** Which tokens a CA believes. */
export interface KubernetesConfig {
  /** What a token must be for; Istio's clients have `istio-ca`. At least one. */
  readonly audiences: readonly string[]
  /** Agents by their service account. */
  readonly agents: readonly KubernetesAgent[]
  /** Names by which a caller may call the cluster (`clusterid`). @default Kubernetes */
  readonly clusterIds?: readonly string[]
}

/** An agent that runs under a service account, with a pod on each node. */
export interface KubernetesAgent {
  readonly namespace: string
  readonly serviceAccount: string
  /** SPIFFE ID; `{node}` stands for the name of the node that the token is bound to. */
  readonly agentId: string
  /** As a join token's; `{node}` too. */
  readonly scope: readonly string[]
}

/** A service account that a cluster vouched for. */
export interface ReviewedAccount {
  readonly namespace: string
  readonly serviceAccount: string
  readonly node: string | undefined
}

export interface KubernetesAttestor {
  /** @throws {CaError} `CA_EVIDENCE_REFUSED`, `CA_REVIEW_UNAVAILABLE` */
  readonly attest: (token: string) => Promise<{ readonly agent: KnownAgent; readonly by: string }>
  /** The identity of a workload (istio-semantics §15.3). @throws the same */
  readonly identify: (token: string, clusterId: string) => Promise<SpiffeId>
}

/** Bytes; a token of a service account has some 1 KiB. */
const MAX_TOKEN_BYTES = 16_384

/** Reviews at a time: callers without a certificate must not be able to flood the cluster. */
const MAX_REVIEWS = 32

const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/
const USERNAME = /^system:serviceaccount:([a-z0-9.-]+):([a-z0-9.-]+)$/

export function createKubernetesAttestor(
  config: KubernetesConfig,
  { review, trustDomain }: { readonly review: ReviewToken; readonly trustDomain: TrustDomain },
): KubernetesAttestor {
  let running = 0
  const account = async (token: string): Promise<ReviewedAccount> => {
    if (token.length > MAX_TOKEN_BYTES || !JWT.test(token))
      throw refused('it is no token of an account')
    if (running >= MAX_REVIEWS) throw unavailable(`${running} tokens are under review`)
    running += 1
    try {
      return accountOf(await review(token, config.audiences), config)
    } catch (cause) {
      throw cause instanceof CaError ? cause : unavailable((cause as Error).message, cause)
    } finally {
      running -= 1
    }
  }
  return {
    async attest(token) {
      const found = await account(token)
      return { agent: agentOf(found, config, trustDomain), by: `kubernetes:${nameOf(found)}` }
    },
    async identify(token, clusterId) {
      const known = ['', ...(config.clusterIds ?? ['Kubernetes'])]
      if (!known.includes(clusterId)) throw refused(`its cluster "${clusterId}" is not known here`)
      return serviceAccountId(trustDomain, await account(token))
    },
  }
}

/** Believes nothing that was not said in so many words (istio-semantics §15.3 row 3). */
function accountOf(verdict: TokenVerdict, { audiences }: KubernetesConfig): ReviewedAccount {
  if (verdict.kind === 'refused') throw refused(verdict.reason)
  // A cluster that knows no audiences answers without; it has not checked them.
  if (!verdict.audiences.some((one) => audiences.includes(one))) {
    throw refused(`it is not for ${audiences.join(' or ')}`)
  }
  const [, namespace, serviceAccount] = USERNAME.exec(verdict.username) ?? []
  if (!namespace || !serviceAccount || !verdict.groups.includes('system:serviceaccounts')) {
    throw refused(`it is of "${verdict.username}", expected a service account`)
  }
  return { namespace, serviceAccount, node: verdict.node?.name }
}

function agentOf(
  found: ReviewedAccount,
  { agents }: KubernetesConfig,
  trustDomain: TrustDomain,
): KnownAgent {
  const rule = agents.find(
    ({ namespace, serviceAccount }) =>
      namespace === found.namespace && serviceAccount === found.serviceAccount,
  )
  if (!rule) throw refused(`${nameOf(found)} is not the account of an agent`)
  return filledAgent(rule, { node: found.node }, trustDomain)
}

function nameOf({ namespace, serviceAccount }: ReviewedAccount): string {
  return `${namespace}/${serviceAccount}`
}

/**
 * The agent that a rule speaks of, its placeholders filled in.
 *
 * @throws {CaError} `CA_EVIDENCE_REFUSED` if one has no value, or what comes out is no ID of this trust domain
 */
export function filledAgent(
  { agentId, scope }: { readonly agentId: string; readonly scope: readonly string[] },
  values: Readonly<Record<string, string | undefined>>,
  trustDomain: TrustDomain,
): KnownAgent {
  const fill = (text: string): string =>
    text.replace(/\{(\w+)\}/g, (_, name: string) => {
      const value = values[name]
      if (value === undefined) throw refused(`it names no ${name}`)
      return value
    })
  const id = parseSpiffeId(fill(agentId))
  if (trustDomainOf(id) !== trustDomain) throw refused(`"${id}" is not of ${trustDomain}`)
  return { id, scope: scope.map(fill) }
}

function refused(why: string): CaError {
  return new CaError('CA_EVIDENCE_REFUSED', `Cannot believe the token: ${why}`)
}

function unavailable(why: string, cause?: unknown): CaError {
  return new CaError('CA_REVIEW_UNAVAILABLE', `Cannot have the token reviewed: ${why}`, { cause })
}
