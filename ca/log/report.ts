/** What the log says of one certificate, as `cert inspect` shows it. */
import type { KeyObject } from 'node:crypto'

import type { LifeReason } from './entry.ts'
import { type InclusionProof, inclusionFault } from './document.ts'

/** The names are a contract: `log` of `redoubt cert inspect --output json`. */
export interface LogReport {
  /** Whether a proof shows that the certificate is in the log; checked here, nobody was believed. */
  readonly verified: boolean
  /** Why not. */
  readonly error: string | null
  /** Its place, from 0, among `size` entries; left out, as is the rest, where there is no proof. */
  readonly index?: number
  readonly size?: number
  /** Hex. */
  readonly root?: string
  /** RFC 3339: when the head was signed. */
  readonly time?: string
  /** Hex SHA-256 of the log's public key. */
  readonly keyId?: string
  /** Who had it issued. */
  readonly requestedBy?: string
  /** Why it lives as long as it does; `null` if that was not recorded. */
  readonly life?: LifeReason | null
}

/** Why a certificate lives as long as it does, in words. */
export const LIFE_WORDS: Readonly<Record<LifeReason, string>> = {
  default: "the CA's default life",
  asked: 'the life that was asked for',
  maximum: "the CA's maximum: more was asked for",
  issuer: 'no longer: its issuer ends then',
}

/** What `proof`, or that there is none, says of the certificate `der`. */
export function reportLog(
  der: Uint8Array,
  proof: InclusionProof | undefined,
  publicKey: KeyObject,
): LogReport {
  if (!proof) return { verified: false, error: 'the log has no such certificate' }
  const error = inclusionFault(proof, der, publicKey) ?? null
  const { index, entry, head } = proof
  const { size, root, time, keyId } = head
  const verified = error === null
  const { requested_by: requestedBy, life = null } = entry
  return { verified, error, index, size, root, time, keyId, requestedBy, life }
}
