/** Tree heads: what the log key signs, and how that is checked. */
import { createPublicKey, hash, type KeyObject, sign, verify } from 'node:crypto'

/** A tree at an instant, vouched for by the log. All text, so that it can be kept and compared. */
export interface SignedHead {
  /** Whose log it is: the trust domain. */
  readonly log: string
  /** Hex SHA-256 of the log's public key (SubjectPublicKeyInfo). */
  readonly keyId: string
  /** Leaves. */
  readonly size: number
  /** Hex. */
  readonly root: string
  /** ISO 8601 instant. */
  readonly time: string
  /** Ed25519 over {@link headText}, base64. */
  readonly signature: string
}

/** What is signed of a head: a line each, after the manner of a checkpoint of the C2SP logs. */
function headText({ log, size, root, time }: Omit<SignedHead, 'keyId' | 'signature'>): Buffer {
  return Buffer.from(`redoubt log of ${log}\n${size}\n${root}\n${time}\n`)
}

/** Who signs heads. */
export interface HeadSigner {
  readonly keyId: string
  readonly publicKey: KeyObject
  readonly sign: (head: {
    readonly size: number
    readonly root: Uint8Array
    readonly time: Temporal.Instant
  }) => SignedHead
}

/** A signer by an Ed25519 key. */
export function headSigner(key: KeyObject, log: string): HeadSigner {
  const publicKey = createPublicKey(key)
  const keyId = keyIdOf(publicKey)
  return {
    keyId,
    publicKey,
    sign({ size, root, time }) {
      const head = { log, size, root: Buffer.from(root).toString('hex'), time: String(time) }
      return { ...head, keyId, signature: sign(null, headText(head), key).toString('base64') }
    },
  }
}

/** Whether the log with this public key signed `head`. Never throws. */
export function isSignedHead(head: SignedHead, publicKey: KeyObject): boolean {
  if (publicKey.asymmetricKeyType !== 'ed25519') return false
  const signature = Buffer.from(head.signature, 'base64')
  return head.keyId === keyIdOf(publicKey) && verify(null, headText(head), publicKey, signature)
}

function keyIdOf(publicKey: KeyObject): string {
  return hash('sha256', publicKey.export({ type: 'spki', format: 'der' }), 'hex')
}
