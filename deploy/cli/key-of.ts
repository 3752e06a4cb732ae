import { type KeyObject, X509Certificate } from 'node:crypto'

/** Whether a private key is that of the first certificate; of what is no certificate it is not. */
export function isKeyOf(key: KeyObject, [first]: readonly Uint8Array[]): boolean {
  try {
    return first !== undefined && new X509Certificate(first).checkPrivateKey(key)
  } catch {
    return false // Reading the certificate says what is wrong with it.
  }
}
