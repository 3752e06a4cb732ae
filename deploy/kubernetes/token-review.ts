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

/**
 * Reviews tokens by the cluster of a kubeconfig, whose user must be allowed to create TokenReviews
 * (`system:auth-delegator` allows it).
 *
 * @param kubeconfig - Absolute path; `in-cluster`: that of the pod that this runs in.
 * @throws {DeployError} `DEPLOY_KUBECONFIG_UNUSABLE` if it cannot be read, or names no cluster
 */
export function createTokenReview(kubeconfig: string, clock: Clock): ReviewToken {
  const api = load(kubeconfig).makeApiClient(AuthenticationV1Api)
  return async (token, audiences) => {
    const body = { spec: { token, audiences: [...audiences] } }
    const review = api.createTokenReview({ body }).catch((cause: unknown) => {
      throw new Error(`the cluster did not answer: ${firstLine(cause)}`, { cause })
    })
    const { status = {} } = await within(review, clock)
    return verdictOf(status)
  }
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
