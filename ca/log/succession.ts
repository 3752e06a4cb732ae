/**
 * A log that is restored from a backup goes on under a key of its own: what the first log may have
 * signed since the backup is lost, and no key ever signs two trees of one size.
 */
import { createPublicKey, hash, type KeyObject, sign, verify } from 'node:crypto'

import { isSignedHead, type SignedHead } from './head.ts'

/** Action of the entry that says so. */
export const RESTORE_ACTION = 'restore'

/** The end of one log and the beginning of the next, as the first one's key signs it. */
export interface Succession {
  /** The last head of the log that is left, as the backup had it. */
  readonly last: SignedHead
  /** What checked its heads, PEM. */
  readonly lastKey: string
  /** Key of the log that goes on. */
  readonly nextKeyId: string
  /** Ed25519 by the key of the log that is left, base64. */
  readonly signature: string
}

/** The succession from a log with `key`, whose last head is `last`. */
export function successionOf(last: SignedHead, key: KeyObject, nextKeyId: string): Succession {
  const lastKey = createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString()
  return {
    last,
    lastKey,
    nextKeyId,
    signature: sign(null, textOf(last, nextKeyId), key).toString('base64'),
  }
}

/** Whether the log that is left agreed. Never throws. */
export function isSuccession({ last, lastKey, nextKeyId, signature }: Succession): boolean {
  try {
    const key = createPublicKey(lastKey)
    const bytes = Buffer.from(signature, 'base64')
    return isSignedHead(last, key) && verify(null, textOf(last, nextKeyId), key, bytes)
  } catch {
    return false // no key, or none that verifies
  }
}

/** A succession from the entry of it; `undefined` if the log that is left did not agree. */
export function readSuccession(detail: string): Succession | undefined {
  try {
    const succession = JSON.parse(detail) as Succession
    return isSuccession(succession) ? succession : undefined
  } catch {
    return undefined // not one of ours
  }
}

function textOf({ log, size, root }: SignedHead, nextKeyId: string): Buffer {
  return Buffer.from(`redoubt log of ${log} goes on\n${size}\n${root}\n${nextKeyId}\n`)
}

/** Hex SHA-256 of a public key: how heads name theirs. */
export function logKeyId(publicKey: KeyObject): string {
  return hash('sha256', publicKey.export({ type: 'spki', format: 'der' }), 'hex')
}
