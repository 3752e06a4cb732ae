/**
 * What need not be done again at each handshake. Every peer of a mesh shows the same one or two
 * intermediates, so they are read once and their signatures checked once: 240 µs of a
 * verification become 120 (test/bench/issue.bench.ts).
 *
 * Only facts that never change are kept: what certain bytes say, and that a certain key signed
 * them. Times, uses and trust are judged anew each time. An issuer is remembered only after a chain
 * through it has led to a root, so no stranger can fill the memory or push others out of it.
 */
import { createPublicKey, type KeyObject } from 'node:crypto'

import { isSignedWith } from './algorithm.ts'
import { type Certificate, readCertificate } from './certificate.ts'

/** Certificates; a mesh has one issuing CA a trust domain, and two while they rotate. */
const MAX_KNOWN = 64

/** By content, least recently remembered first. */
const KNOWN = new Map<string, Certificate>()

/** The issuers by whose keys a certificate is known to be signed. */
const SIGNED_BY = new WeakMap<Certificate, WeakSet<Certificate>>()

const KEYS = new WeakMap<Certificate, KeyObject>()

/** The certificate in `der`; the same object each time for an issuer that is known. @throws {CaError} `CA_DER_INVALID` */
export function readIssuer(der: Uint8Array): Certificate {
  return KNOWN.get(contentOf(der)) ?? readCertificate(der)
}

/** Remembers the issuers of a path that led to a root. */
export function rememberIssuers(issuers: readonly Certificate[]): void {
  for (const issuer of issuers) {
    const content = contentOf(issuer.der)
    if (KNOWN.has(content)) continue
    const [oldest] = KNOWN.keys()
    if (KNOWN.size >= MAX_KNOWN && oldest !== undefined) KNOWN.delete(oldest)
    KNOWN.set(content, issuer)
  }
}

/** Whether the key of `issuer` signed `subject`. Never throws. */
export function isIssuedBy(subject: Certificate, issuer: Certificate): boolean {
  if (SIGNED_BY.get(subject)?.has(issuer)) return true
  const key = keyOf(issuer)
  if (!key || !isSignedWith(subject.signed, key, issuer.key)) return false
  if (subject.isCa) {
    const issuers = SIGNED_BY.get(subject) ?? new WeakSet()
    SIGNED_BY.set(subject, issuers.add(issuer))
  }
  return true
}

function keyOf(issuer: Certificate): KeyObject | undefined {
  const known = KEYS.get(issuer)
  if (known) return known
  try {
    const spki = Buffer.from(issuer.publicKeyDer)
    const key = createPublicKey({ key: spki, format: 'der', type: 'spki' })
    KEYS.set(issuer, key)
    return key
  } catch {
    return undefined // a point off its curve, for one
  }
}

/** One character a byte: a key for a map that is cheaper to make than a hash. */
function contentOf(der: Uint8Array): string {
  return Buffer.from(der.buffer, der.byteOffset, der.length).toString('latin1')
}
