import { PolicyError } from '../error.ts'
import type { StreamRequest } from '../proto/gen/policy.ts'
import type { StreamMessage } from './stream-state.ts'

/** Names in one message; a sidecar that needs more says it in several. */
const MAX_NAMES = 2000

/** A sidecar's message. @throws {PolicyError} `POLICY_LIMIT` */
export function messageFromProto(request: StreamRequest): StreamMessage {
  const { subscribe, unsubscribe, held, responseNonce, rejected, keysWanted } = request
  const heldVersions = new Map(Object.entries(held))
  const lists = [subscribe, unsubscribe, rejected, keysWanted]
  if (Math.max(heldVersions.size, ...lists.map(({ length }) => length)) > MAX_NAMES) {
    throw new PolicyError(
      'POLICY_LIMIT',
      `Cannot take a message: it has more than ${MAX_NAMES} names in one list`,
    )
  }
  return {
    subscribe,
    unsubscribe,
    held: heldVersions,
    nonce: responseNonce,
    rejected: new Map(rejected.map(({ name, reason }) => [name, reason])),
    keysWanted,
  }
}

/** The workload that a stream is for. @throws {PolicyError} `POLICY_STREAM_INVALID` */
export function nodeFromProto({ node }: StreamRequest): {
  readonly namespace: string
  readonly workload: string
} {
  if (!node?.namespace || !node.workload) {
    throw new PolicyError(
      'POLICY_STREAM_INVALID',
      'Cannot open a stream: its first message does not say for which workload',
    )
  }
  return { namespace: node.namespace, workload: node.workload }
}
