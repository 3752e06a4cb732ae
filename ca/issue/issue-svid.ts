import { randomBytes, X509Certificate } from 'node:crypto'

import { CaError } from '../error.ts'
import type { LifeReason } from '../log/entry.ts'
import type { SpiffeId } from '../spiffe/index.ts'
import { signedDer } from '../x509/algorithm.ts'
import type { CertificateRow } from './database.ts'
import type { Ledger } from './ledger.ts'
import { selfCheck } from './self-check.ts'
import {
  compileTemplate,
  planSvid,
  SERIAL_BYTES,
  serialText,
  type SvidRequest,
  type SvidTemplate,
} from './template.ts'
import { type Authority, endOf, skiOf } from '../keys/authority.ts'

/** A leaf that is in the ledger and may be handed out. */
export interface IssuedSvid {
  readonly spiffeId: SpiffeId
  /** DER, leaf first, without the root. */
  readonly chain: readonly Uint8Array[]
  /** Lower-case hex. */
  readonly serial: string
  /** Serial of the issuing CA, the same way. */
  readonly issuerSerial: string
  readonly issuedAt: Temporal.Instant
  readonly notBefore: Temporal.Instant
  readonly notAfter: Temporal.Instant
  readonly life: LifeReason
}

/** Signs leaves of one issuing CA. Making one costs a parse of the issuer; signing then only concatenates. */
export interface SvidSigner {
  readonly authority: Authority
  /**
   * The leaf for a template, checked: its content always; its signature, and what OpenSSL reads in
   * it, when it is one of the first of its kind of key, and of one in {@link FULL_CHECK_EVERY} after.
   *
   * @throws {CaError} `CA_SVID_SELF_CHECK_FAILED`
   */
  readonly seal: (template: SvidTemplate) => Promise<Uint8Array>
}

/** Leaves of one issuer, counted by the length of their keys, whose signatures are checked at once. */
const FIRST_CHECKS = 8

/** Of how many leaves after those one is checked in full. */
const FULL_CHECK_EVERY = 64

export function createSvidSigner(authority: Authority): SvidSigner {
  const { certificate, key } = authority
  const { signer } = key
  const encode = compileTemplate({
    algorithmDer: signer.algorithmDer,
    name: certificate.subject,
    ski: skiOf(certificate),
  })
  const x509 = new X509Certificate(certificate.der)
  const issuer = { certificate, x509, publicKey: x509.publicKey }
  const checked = new Map<number, number>()
  const depthOf = ({ publicKeyDer: { length } }: SvidTemplate): 'full' | 'content' => {
    const count = checked.get(length) ?? 0
    checked.set(length, count + 1)
    return count < FIRST_CHECKS || count % FULL_CHECK_EVERY === 0 ? 'full' : 'content'
  }
  return {
    authority,
    async seal(template) {
      const tbs = encode(template)
      const leafDer = signedDer(tbs, signer, await key.sign(tbs))
      const faults = selfCheck(leafDer, template, issuer, depthOf(template))
      if (faults.length === 0) return leafDer
      throw new CaError(
        'CA_SVID_SELF_CHECK_FAILED',
        `Cannot issue an SVID for "${template.spiffeId}": ${faults.join('; ')}`,
      )
    },
  }
}

/**
 * Signs one leaf; not yet in the ledger, so not yet to be handed out.
 *
 * @throws {CaError} `CA_SIGNER_UNAVAILABLE` if the issuing CA has ended, `CA_SVID_SELF_CHECK_FAILED`
 */
export async function signSvid(
  { authority, seal }: SvidSigner,
  request: SvidRequest,
  issuedAt: Temporal.Instant,
): Promise<IssuedSvid> {
  const { certificate } = authority
  const endsAt = endOf(authority)
  if (issuedAt.epochMilliseconds >= endsAt.epochMilliseconds) {
    throw new CaError(
      'CA_SIGNER_UNAVAILABLE',
      `Cannot issue an SVID: the issuing CA ended at ${endsAt}`,
    )
  }
  const entropy = drawSerial(issuedAt)
  const template = planSvid(request, issuedAt, entropy, endsAt)
  const leafDer = await seal(template)
  return {
    spiffeId: template.spiffeId,
    chain: [leafDer, ...(authority.presented ?? [certificate.der])],
    serial: serialText(entropy),
    issuerSerial: certificate.serial,
    issuedAt,
    notBefore: template.notBefore,
    notAfter: template.notAfter,
    life: template.life,
  }
}

/** Serials drawn at a time: one call of OpenSSL's generator costs as much as a hundred of its bytes. */
const SERIALS_A_DRAW = 64
let drawn: Uint8Array = new Uint8Array()
let used = 0

/**
 * A fresh serial of 20 bytes: the time, then {@link SERIAL_BYTES} random ones. Those of a commit lie side by
 * side in the ledger's index; all random, each would be on a page of its own, for each commit to write.
 */
function drawSerial({ epochMilliseconds }: Temporal.Instant): Uint8Array {
  if (used === drawn.length) {
    drawn = randomBytes(SERIAL_BYTES * SERIALS_A_DRAW)
    used = 0
  }
  const serial = new Uint8Array(TIME_BYTES + SERIAL_BYTES)
  const time = timeOf(epochMilliseconds)
  for (let at = 0; at < TIME_BYTES; at += 1) serial[at] = time >> (8 * (TIME_BYTES - 1 - at))
  serial.set(drawn.subarray(used, used + SERIAL_BYTES), TIME_BYTES)
  used += SERIAL_BYTES
  return serial
}

const TIME_BYTES = 4

/**
 * The 64th of a second, from 2020 on and from 0 again after 388 days: it is for nothing but order among the newest.
 * 31 bits, for with the sign bit in use a serial would have a byte more than it may.
 */
function timeOf(epochMs: number): number {
  return Math.floor(((epochMs - 1_577_836_800_000) * 64) / 1000) & 0x7fff_ffff
}

/** Puts leaves in the ledger. Only what has been through here may leave the CA. */
export function recordSvids(
  ledger: Pick<Ledger, 'record'>,
  svids: readonly IssuedSvid[],
  requestedBy: SpiffeId,
): Promise<void> {
  return ledger.record({ certificates: svids.map((svid) => svidRow(svid, requestedBy)) })
}

/** The ledger's row for a leaf. `requestedBy`: a SPIFFE ID, or who an administrator is. */
export function svidRow(svid: IssuedSvid, requestedBy: string): CertificateRow {
  return {
    serial: svid.serial,
    kind: 'leaf',
    subject: svid.spiffeId,
    issuer_serial: svid.issuerSerial,
    issued_at: svid.issuedAt.epochMilliseconds,
    not_before: svid.notBefore.epochMilliseconds,
    not_after: svid.notAfter.epochMilliseconds,
    requested_by: requestedBy,
    life: svid.life,
    der: svid.chain[0] ?? new Uint8Array(),
  }
}
