/** Stable reasons for {@link PolicyError}; log on these, never on the message. */
export type PolicyErrorCode =
  | 'POLICY_BUNDLE_INVALID'
  | 'POLICY_BUNDLE_FORMAT'
  | 'POLICY_NAME_INVALID'
  | 'POLICY_SUBSCRIPTION_REFUSED'
  | 'POLICY_STREAM_INVALID'
  | 'POLICY_LIMIT'
  | 'POLICY_RULE_INVALID'
  | 'POLICY_FETCH_FAILED'
  | 'POLICY_UNCONFIRMED'

/** The only error class that leaves `policy/`. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError'
  readonly code: PolicyErrorCode
  /** Where in the document or bundle, as a JSON Pointer (RFC 6901); `undefined` when not about one place. */
  readonly pointer: string | undefined

  constructor(
    code: PolicyErrorCode,
    message: string,
    options?: ErrorOptions & { readonly pointer?: string },
  ) {
    super(message, options)
    this.code = code
    this.pointer = options?.pointer
  }
}
