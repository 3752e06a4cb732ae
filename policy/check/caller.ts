import { parseSpiffeId, type SpiffeId } from '#ca/spiffe/index.ts'
import { PolicyError } from '../error.ts'

/**
 * Who asks, as people write it: a SPIFFE ID, or `none` for plaintext.
 *
 * @throws {PolicyError} `POLICY_NAME_INVALID`, with what was probably meant: policies write identities without the scheme
 */
export function readCaller(text: string): SpiffeId | undefined {
  if (text === 'none') return undefined
  try {
    return parseSpiffeId(text)
  } catch (cause) {
    const meant = `spiffe://${text}`
    const account = /^([a-z0-9-]+)\/([a-z0-9.-]+)$/.exec(text)
    const hint =
      account !== null
        ? `did you mean "spiffe://<trust domain>/ns/${account[1]}/sa/${account[2]}"?`
        : isSpiffeId(meant) && text.includes('/')
          ? `did you mean ${JSON.stringify(meant)}?`
          : 'expected spiffe://<trust domain>/ns/<namespace>/sa/<service account>, or none'
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new PolicyError('POLICY_NAME_INVALID', `${why}; ${hint}`, { cause })
  }
}

function isSpiffeId(text: string): boolean {
  try {
    return parseSpiffeId(text) === text
  } catch {
    return false
  }
}
