import { type Metadata, status } from '@grpc/grpc-js'
import { AgentError, type AgentErrorCode } from './error.ts'

/** What a caller is told: SPIFFE Workload Endpoint, "Error codes"; SDS follows the same. */
const STATUS: Readonly<Partial<Record<AgentErrorCode, status>>> = {
  AGENT_REQUEST_INVALID: status.INVALID_ARGUMENT,
  AGENT_JWT_INVALID: status.INVALID_ARGUMENT,
  AGENT_PEER_UNKNOWN: status.PERMISSION_DENIED,
  AGENT_PEER_UNREADABLE: status.PERMISSION_DENIED,
  AGENT_ISSUE_REFUSED: status.PERMISSION_DENIED,
  AGENT_NOT_ATTESTED: status.UNAVAILABLE,
  AGENT_CA_UNAVAILABLE: status.UNAVAILABLE,
  AGENT_OVERLOADED: status.UNAVAILABLE,
}

/** The one place that turns failures into gRPC statuses. What nobody foresaw says nothing of itself. */
export function statusFromError(cause: unknown): {
  readonly code: status
  readonly details: string
  readonly metadata?: Metadata
} {
  const code = cause instanceof AgentError ? STATUS[cause.code] : undefined
  return code !== undefined && cause instanceof Error
    ? { code, details: cause.message }
    : { code: status.INTERNAL, details: 'Cannot answer: the agent failed' }
}
