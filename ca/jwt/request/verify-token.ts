import { compactVerify } from 'jose'
import type { VerificationKey } from './key-set.ts'
import type { UnverifiedToken } from './parse-token.ts'
import type { TokenRefusal } from './refusal.ts'

/**
 * Whether one of `keys` made the signature; `undefined`: yes. A token that names a key is held to
 * that one, and a key to the algorithms of its type, so that nobody has an RSA key taken for a secret.
 */
export async function verifySignature(
  token: UnverifiedToken,
  keys: readonly VerificationKey[],
): Promise<TokenRefusal | undefined> {
  const { algorithm, keyId } = token
  if (keys.length === 0) return 'no-keys'
  const candidates = keys.filter(
    (key) =>
      (keyId === '' || key.keyId === '' || key.keyId === keyId) &&
      (key.algorithm === undefined || key.algorithm === algorithm),
  )
  if (candidates.length === 0) return 'no-key'
  // No extension is known here, so one that must be understood is not (RFC 7515 §4.1.11).
  if (token.isCritical || !token.isExact) return 'signature-wrong'
  for (const key of candidates) {
    if (key.fits.includes(algorithm) && (await isSignedBy(token, key))) return undefined
  }
  return 'signature-wrong'
}

async function isSignedBy(token: UnverifiedToken, key: VerificationKey): Promise<boolean> {
  const { text, algorithm } = token
  try {
    await compactVerify(text, await key.load(algorithm), { algorithms: [algorithm] })
    return true
  } catch {
    return false // whatever kept it from being verified, it is not
  }
}
