/** What a leaf of the log says: one certificate, or one administrative call, every field of it. */
import { hash } from 'node:crypto'

import { textLeafHash } from './tree.ts'

/**
 * Why a leaf lives as long as it does: the CA's default, what was asked for, the CA's maximum in place of
 * that, or its issuer, which ends sooner than any of these.
 */
export type LifeReason = 'default' | 'asked' | 'maximum' | 'issuer'

/** A certificate as the ledger has it. Its own bytes go into the leaf by their fingerprint. */
export interface CertificateEntry {
  /** Lower-case hex without leading zero bytes. */
  readonly serial: string
  readonly kind: 'root' | 'issuing' | 'leaf'
  readonly subject: string
  readonly issuer_serial: string
  /** Epoch milliseconds, as are the next two. */
  readonly issued_at: number
  readonly not_before: number
  readonly not_after: number
  readonly requested_by: string
  /** Of a leaf; left out or `null` of those from before it was recorded, and of CAs. */
  readonly life?: LifeReason | null
}

/** An administrative call, done or refused. */
export interface CallEntry {
  /** Epoch milliseconds. */
  readonly at: number
  /** Who asked, e.g. `uid:1000` or `supervisor`. */
  readonly caller: string
  /** What for, e.g. `issue`, `add-join-token`. */
  readonly action: string
  /** Its arguments as JSON; no secrets. */
  readonly detail: string
  /** `done`, or the stable reason of a refusal. */
  readonly outcome: string
}

/**
 * The text that is hashed for a certificate. A JSON array: its order is fixed, and no field can run
 * into the next. What was not recorded is not there, so that a leaf from before hashes as it did.
 *
 * @param sha256 - Of the certificate, hex.
 */
export function certificateText(entry: CertificateEntry, sha256: string): string {
  const { serial, kind, subject, issuer_serial, issued_at } = entry
  const { not_before, not_after, requested_by, life } = entry
  return JSON.stringify([
    'certificate',
    serial,
    kind,
    subject,
    issuer_serial,
    issued_at,
    not_before,
    not_after,
    requested_by,
    sha256,
    ...(life ? [life] : []),
  ])
}

/** The text that is hashed for a call. */
export function callText({ at, caller, action, detail, outcome }: CallEntry): string {
  return JSON.stringify(['call', at, caller, action, detail, outcome])
}

/** The leaf hash of a certificate. */
export function certificateLeaf(entry: CertificateEntry, der: Uint8Array): Uint8Array {
  return textLeaf(certificateText(entry, fingerprintOf(der)))
}

/** The leaf hash of a call. */
export function callLeaf(entry: CallEntry): Uint8Array {
  return textLeaf(callText(entry))
}

/** The leaf hash of a text. */
export function textLeaf(text: string): Uint8Array {
  return textLeafHash(text)
}

/** Hex SHA-256 of a certificate. */
export function fingerprintOf(der: Uint8Array): string {
  return hash('sha256', der, 'hex')
}
