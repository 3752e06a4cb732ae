/** Stable reasons for {@link CaError}; log on these, never on the message. */
export type CaErrorCode =
  | 'CA_ID_INVALID'
  | 'CA_DER_INVALID'
  | 'CA_CSR_REJECTED'
  | 'CA_NOT_ADMITTED'
  | 'CA_CALLER_UNKNOWN'
  | 'CA_TOKEN_REFUSED'
  | 'CA_EVIDENCE_REFUSED'
  | 'CA_CERTIFICATE_TAINTED'
  | 'CA_REVIEW_UNAVAILABLE'
  | 'CA_FEDERATION_INVALID'
  | 'CA_CONFIG_INVALID'
  | 'CA_STATE_UNUSABLE'
  | 'CA_LISTEN_FAILED'
  | 'CA_SIGNER_UNAVAILABLE'
  | 'CA_SVID_SELF_CHECK_FAILED'
  | 'CA_JWT_INVALID'
  | 'CA_CREDENTIAL_UNSUPPORTED'
  | 'CA_LOG_INVALID'
  | 'CA_BACKUP_INVALID'
  | 'CA_RATE_LIMITED'
  | 'CA_DENIAL_INVALID'
  | 'CA_NOT_ADMINISTRATOR'
  | 'CA_ROTATION_REFUSED'
  | 'CA_ROTATION_NOT_YET'

/** The only error class that leaves `ca/`. */
export class CaError extends Error {
  override readonly name = 'CaError'
  readonly code: CaErrorCode
  /** Milliseconds after which asking again makes sense, where that is known of this very case. */
  readonly retryAfterMs: number | undefined

  constructor(
    code: CaErrorCode,
    message: string,
    options: ErrorOptions & { readonly retryAfterMs?: number } = {},
  ) {
    super(message, options)
    this.code = code
    this.retryAfterMs = options.retryAfterMs
  }
}
