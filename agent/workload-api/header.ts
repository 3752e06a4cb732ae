import type { Metadata } from '@grpc/grpc-js'
import { AgentError } from '../error.ts'

/**
 * Before anything else is looked at: a request that a browser or a confused proxy was made to send
 * cannot have this header (SPIFFE Workload Endpoint §6, against request forgery).
 *
 * @throws {AgentError} `AGENT_REQUEST_INVALID`
 */
export function checkHeader(metadata: Metadata): void {
  const values = metadata.get('workload.spiffe.io')
  if (values.length === 1 && values[0] === 'true') return
  throw new AgentError(
    'AGENT_REQUEST_INVALID',
    'Cannot answer: the security header is missing, expected metadata "workload.spiffe.io: true"',
  )
}
