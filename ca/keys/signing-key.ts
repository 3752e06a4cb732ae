/** The seam between the CA and its keys: whoever needs a signature sees this and no private key. */
import { createPublicKey, type KeyObject, sign } from 'node:crypto'

import { type Signer, signerOf } from '../x509/algorithm.ts'
import { keyIdentifier } from '../x509/index.ts'

/** A private key that signs where it is kept: in this process, in a file of it, in an HSM. */
export interface SigningKey {
  /** Lower-case hex of its key identifier (RFC 7093 §2 method 1). Its store finds it again by this. */
  readonly id: string
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKeyDer: Uint8Array
  /** How it signs. */
  readonly signer: Signer
  /**
   * Signs `bytes` as X.509 has signatures: ECDSA in DER. May take milliseconds where the key is in
   * hardware; never blocks this thread for them.
   *
   * @throws {CaError} `CA_SIGNER_UNAVAILABLE` if whatever keeps the key does not answer
   */
  readonly sign: (bytes: Uint8Array) => Promise<Uint8Array>
}

/** Where keys are made and kept. Disposing it closes its session; keys in memory are gone then. */
export interface KeyStore extends AsyncDisposable {
  /** What it is, for people: `files in /var/lib/redoubt/keys`. */
  readonly name: string
  /** Whether a key that was made is there after a restart. */
  readonly isLasting: boolean
  /** Makes an EC P-256 key. @throws {CaError} `CA_STATE_UNUSABLE`, `CA_SIGNER_UNAVAILABLE` */
  readonly create: () => Promise<SigningKey>
  /**
   * The key with this identifier; `undefined` if the store has none.
   *
   * @throws {CaError} `CA_STATE_UNUSABLE` if it is there and cannot be used, `CA_SIGNER_UNAVAILABLE`
   */
  readonly open: (id: string) => Promise<SigningKey | undefined>
  /**
   * Takes a private key that was kept elsewhere.
   *
   * @throws {CaError} `CA_STATE_UNUSABLE` where keys cannot be brought in
   */
  readonly take: (key: KeyObject) => Promise<SigningKey>
  /** Forgets a key; of no effect if there is none. */
  readonly remove: (id: string) => Promise<void>
}

/**
 * A key that this process holds.
 *
 * @throws {CaError} `CA_SIGNER_UNAVAILABLE` for a kind of key that we do not sign with
 */
export function localKey(key: KeyObject): SigningKey {
  const signer = signerOf(key)
  const publicKeyDer = createPublicKey(key).export({ type: 'spki', format: 'der' })
  return {
    id: storeIdOf(publicKeyDer),
    publicKeyDer,
    signer,
    sign: async (bytes) => sign(signer.hash, bytes, key),
  }
}

/** {@link SigningKey.id} of a public key. */
export function storeIdOf(publicKeyDer: Uint8Array): string {
  return Buffer.from(keyIdentifier(publicKeyDer)).toString('hex')
}
