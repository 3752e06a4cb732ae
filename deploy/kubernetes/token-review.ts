/** Tokens of service accounts, reviewed by the API server of a cluster: what `#ca` asks as `ReviewToken`. */
import {
  AuthenticationV1Api,
  KubeConfig,
  type V1TokenReviewStatus,
  type V1UserInfo,
} from '@kubernetes/client-node'

import type { ReviewToken, TokenVerdict } from '#ca/index.ts'
import type { Clock } from '#core/clock.ts'
import { DeployError } from '../error.ts'

/** Elapsed milliseconds for one review. */
const ANSWER_MS = 5000

/** A cluster that is asked about tokens. */
export interface TokenReview {
  readonly review: ReviewToken
  /**
   * Milliseconds by which the API server's clock is ahead of ours, negative if behind, by its last answer; 0 while
   * they differ by no more than that can tell, whose time is in whole seconds. `undefined` before the first.
   */
  readonly clockOffsetMs: () => number | undefined
}

export interface TokenReviewDeps {
  readonly clock: Clock
  readonly now: () => Temporal.Instant
}

/**
 * Reviews tokens by the cluster of a kubeconfig, whose user must be allowed to create TokenReviews
 * (`system:auth-delegator` allows it).
 *
 * @param kubeconfig - Absolute path; `in-cluster`: that of the pod that this runs in.
 * @throws {DeployError} `DEPLOY_KUBECONFIG_UNUSABLE` if it cannot be read, or names no cluster
 */
export function createTokenReview(
  kubeconfig: string,
  { clock, now }: TokenReviewDeps,
): TokenReview {
  const api = load(kubeconfig).makeApiClient(AuthenticationV1Api)
  let offsetMs: number | undefined
  return {
    async review(token, audiences) {
      const body = { spec: { token, audiences: [...audiences] } }
      const askedMs = now().epochMilliseconds
      const review = api.createTokenReviewWithHttpInfo({ body }).catch((cause: unknown) => {
        throw new Error(`the cluster did not answer: ${firstLine(cause)}`, { cause })
      })
      const { data, headers } = await within(review, clock)
      const answeredMs = now().epochMilliseconds
      offsetMs = offsetOf(headers['date'], { askedMs, answeredMs }) ?? offsetMs
      return verdictOf(data.status ?? {})
    },
    clockOffsetMs: () => offsetMs,
  }
}

/** By a header `Date` (RFC 9110 §6.6.1), which cuts the second: what lies outside of asking and answer is a difference. */
function offsetOf(
  date: string | undefined,
  { askedMs, answeredMs }: { readonly askedMs: number; readonly answeredMs: number },
): number | undefined {
  const fromMs = Date.parse(date ?? '')
  if (Number.isNaN(fromMs)) return undefined
  const untilMs = fromMs + 1000
  if (fromMs > answeredMs) return fromMs - answeredMs
  return untilMs < askedMs ? untilMs - askedMs : 0
}

function load(kubeconfig: string): KubeConfig {
  const config = new KubeConfig()
  try {
    if (kubeconfig === 'in-cluster') config.loadFromCluster()
    else config.loadFromFile(kubeconfig)
  } catch (cause) {
    throw unusable(kubeconfig, (cause as Error).message, cause)
  }
  if (!config.getCurrentCluster()) throw unusable(kubeconfig, 'it names no cluster')
  return config
}

async function within<T>(answer: Promise<T>, clock: Clock): Promise<T> {
  const ended = new AbortController()
  const late = clock.sleep(ANSWER_MS, ended.signal).then(() => {
    throw new Error(`the cluster did not answer within ${ANSWER_MS} ms`)
  })
  late.catch(() => {}) // unheard when the answer was in time
  try {
    return await Promise.race([answer, late])
  } finally {
    ended.abort()
    answer.catch(() => {}) // the late end of what nobody waits for any more
  }
}

/** Every field is absent until proved otherwise. */
export function verdictOf({
  authenticated = false,
  audiences = [],
  error,
  user = {},
}: V1TokenReviewStatus): TokenVerdict {
  if (!authenticated) return { kind: 'refused', reason: error ?? 'the cluster does not know it' }
  const { username = '', groups = [] } = user
  const pod = boundTo(user, 'pod')
  const node = boundTo(user, 'node')
  return { kind: 'ok', username, groups, audiences, ...(pod && { pod }), ...(node && { node }) }
}

function boundTo(
  { extra = {} }: V1UserInfo,
  kind: 'pod' | 'node',
): { readonly name: string; readonly uid: string } | undefined {
  const name = extra[`authentication.kubernetes.io/${kind}-name`]?.[0]
  const uid = extra[`authentication.kubernetes.io/${kind}-uid`]?.[0]
  return name === undefined || uid === undefined ? undefined : { name, uid }
}

function firstLine(cause: unknown): string {
  return String((cause as Error).message ?? cause).split('\n')[0] ?? ''
}

function unusable(kubeconfig: string, why: string, cause?: unknown): DeployError {
  return new DeployError(
    'DEPLOY_KUBECONFIG_UNUSABLE',
    `Cannot use the kubeconfig ${kubeconfig}: ${why}`,
    {
      cause,
    },
  )
}
