/** Stable reasons for {@link AgentError}; log on these, never on the message. */
export type AgentErrorCode =
  | 'AGENT_CONFIG_INVALID'
  | 'AGENT_SOCKET_UNUSABLE'
  | 'AGENT_PLATFORM_UNSUPPORTED'
  | 'AGENT_PEER_UNREADABLE'
  | 'AGENT_PEER_UNKNOWN'
  | 'AGENT_NOT_ATTESTED'
  | 'AGENT_ATTESTATION_REFUSED'
  | 'AGENT_PROOF_UNREADABLE'
  | 'AGENT_CA_UNAVAILABLE'
  | 'AGENT_ISSUE_REFUSED'
  | 'AGENT_SVID_INVALID'
  | 'AGENT_JWT_INVALID'
  | 'AGENT_BUNDLE_INVALID'
  | 'AGENT_REQUEST_INVALID'
  | 'AGENT_OVERLOADED'

/** The only error class that leaves `agent/`. */
export class AgentError extends Error {
  override readonly name = 'AgentError'
  readonly code: AgentErrorCode

  constructor(code: AgentErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
