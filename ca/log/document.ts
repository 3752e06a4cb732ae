/** A proof as it is kept and passed on: one JSON document that can be checked with no one to ask. */
import type { KeyObject } from 'node:crypto'

import { type CertificateEntry, certificateText, fingerprintOf, textLeaf } from './entry.ts'
import { isSignedHead, type SignedHead } from './head.ts'
import { isConsistent, isIncluded } from './verify.ts'

/** That a certificate is in the log. */
export interface InclusionProof {
  readonly kind: 'inclusion'
  readonly head: SignedHead
  /** Place of the leaf, from 0. */
  readonly index: number
  readonly entry: CertificateEntry
  /** Hex, from the leaf up. */
  readonly path: readonly string[]
}

/** That the log has only grown since a tree of `first` leaves. */
export interface ConsistencyProof {
  readonly kind: 'consistency'
  readonly first: number
  readonly head: SignedHead
  /** Hex. */
  readonly path: readonly string[]
}

/**
 * Why `proof` does not show that the certificate `der` is in the log of `publicKey`; `undefined`
 * when it does. Nothing in the proof is believed that the certificate, the key and arithmetic do not
 * bear out. Never throws.
 */
export function inclusionFault(
  proof: InclusionProof,
  der: Uint8Array,
  publicKey: KeyObject,
): string | undefined {
  const { head, index, entry, path } = proof
  if (!isSignedHead(head, publicKey)) return "the head is not signed by this log's key"
  const leaf = textLeaf(certificateText(entry, fingerprintOf(der)))
  return isIncluded(leaf, { index, size: head.size }, path.map(fromHex), fromHex(head.root))
    ? undefined
    : 'the path does not lead from this certificate to the signed root'
}

/**
 * Why `proof` does not show that its head follows on `earlier`; `undefined` when it does. Never
 * throws.
 *
 * @param earlierKey - Of a log that this one succeeds, if that one signed `earlier`.
 */
export function consistencyFault(
  proof: ConsistencyProof,
  earlier: SignedHead,
  publicKey: KeyObject,
  earlierKey: KeyObject = publicKey,
): string | undefined {
  const { head, path, first } = proof
  if (!isSignedHead(earlier, earlierKey)) return "the earlier head is not signed by this log's key"
  if (!isSignedHead(head, publicKey)) return "the head is not signed by this log's key"
  if (head.log !== earlier.log) return `it is of the log of ${head.log}, not of ${earlier.log}`
  if (first !== earlier.size) return `it begins at ${first} entries, not at ${earlier.size}`
  const [old, now] = [earlier, head].map(({ size, root }) => ({ size, root: fromHex(root) }))
  return old && now && isConsistent(old, now, path.map(fromHex))
    ? undefined
    : 'what was in the log then is not, or not as it was, in the log now'
}

function fromHex(text: string): Uint8Array {
  return Buffer.from(text, 'hex')
}
