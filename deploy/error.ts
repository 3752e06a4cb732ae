/** Stable reasons for {@link DeployError}; test on these, never on the message. */
export type DeployErrorCode =
  | 'DEPLOY_PLATFORM_UNSUPPORTED'
  | 'DEPLOY_STATE_UNUSABLE'
  | 'DEPLOY_STATE_IN_USE'
  | 'DEPLOY_MESH_NOT_FOUND'
  | 'DEPLOY_MANIFESTS_INVALID'
  | 'DEPLOY_PROCESS_FAILED'
  | 'DEPLOY_CALL_REFUSED'
  | 'DEPLOY_APP_FAILED'
  | 'DEPLOY_KUBECONFIG_UNUSABLE'
  | 'DEPLOY_USAGE'

/** The only error class that leaves `deploy/`. Its message is one line, written for the operator. */
export class DeployError extends Error {
  override readonly name = 'DeployError'
  readonly code: DeployErrorCode

  constructor(code: DeployErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
