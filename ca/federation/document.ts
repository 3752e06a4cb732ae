/** A trust domain's bundle as SPIFFE has it on the wire: a JWK Set with two members more (SPIFFE bundle §4). */
import { createPublicKey } from 'node:crypto'

import { CaError } from '../error.ts'
import { type JwtKey, readJwtKeys } from '../jwt/jwt-svid-keys.ts'
import { parseStrictObject } from '../jwt/request/strict-json.ts'
import { readCertificate, type TrustBundle } from '../x509/index.ts'

/** What a document says. It names no trust domain: whoever fetched it knows of which it is. */
export interface BundleDocument {
  /** Grows whenever the content changes; `undefined` if the document has none. */
  readonly sequence: bigint | undefined
  /** Seconds; `undefined` if the document has none. */
  readonly refreshHint: number | undefined
  /** DER of each root. None: every SVID of the domain is refused. */
  readonly roots: readonly Uint8Array[]
  readonly jwtKeys: readonly JwtKey[]
}

/** Characters of one document: 64 roots and 64 keys of RSA-4096. */
export const MAX_DOCUMENT_LENGTH: number = 512 * 1024

const MAX_ROOTS = 64

/** The document of `bundle`; its generation is the sequence. */
export function writeBundleDocument(bundle: TrustBundle, refreshHint: number): string {
  const { roots, jwtKeys = [], generation } = bundle
  const keys = [...roots.map(rootKey), ...jwtKeys]
  return JSON.stringify({ keys, spiffe_sequence: generation, spiffe_refresh_hint: refreshHint })
}

function rootKey(der: Uint8Array): object {
  const { publicKeyDer } = readCertificate(der)
  const key = createPublicKey({ key: Buffer.from(publicKeyDer), format: 'der', type: 'spki' })
  const x5c = [Buffer.from(der).toString('base64')]
  return { ...key.export({ format: 'jwk' }), use: 'x509-svid', x5c }
}

/**
 * Reads a document. Elements of another use, or of a key type that is not known, are passed over; a
 * root that cannot be read is a fault of the whole, because nobody could say what was meant.
 *
 * @throws {CaError} `CA_FEDERATION_INVALID`
 */
export function readBundleDocument(text: string): BundleDocument {
  if (text.length > MAX_DOCUMENT_LENGTH) throw refused(`it has ${text.length} characters`)
  const document = parseStrictObject(text)
  const keys = document?.['keys']
  if (!document || !Array.isArray(keys)) {
    throw refused('it is no JSON object with each name once and an array "keys"')
  }
  const roots = keys.flatMap((element: unknown) => rootOf(element) ?? [])
  if (roots.length > MAX_ROOTS) throw refused(`it has ${roots.length} roots`)
  const hint = document['spiffe_refresh_hint']
  return {
    sequence: sequenceIn(text),
    refreshHint: typeof hint === 'number' && Number.isInteger(hint) && hint > 0 ? hint : undefined,
    roots,
    jwtKeys: jwtKeysIn(text),
  }
}

/** Key types whose certificates we can verify with (RFC 7518 §6.1, RFC 8037). */
const KEY_TYPES: ReadonlySet<unknown> = new Set(['EC', 'RSA', 'OKP'])

function rootOf(element: unknown): Uint8Array | undefined {
  if (typeof element !== 'object' || element === null) return undefined
  const { kty, use, x5c } = element as Readonly<Record<string, unknown>>
  if (use !== 'x509-svid' || !KEY_TYPES.has(kty)) return undefined
  const [text, ...others] = Array.isArray(x5c) ? (x5c as unknown[]) : []
  if (typeof text !== 'string' || others.length > 0) {
    throw refused('a key for x509-svid has not exactly one certificate (x5c)')
  }
  const der = Buffer.from(text, 'base64')
  try {
    if (readCertificate(der).isCa) return der
  } catch (cause) {
    throw refused(`a certificate in it cannot be read: ${(cause as Error).message}`, cause)
  }
  throw refused('a certificate in it is not a CA certificate')
}

function jwtKeysIn(text: string): readonly JwtKey[] {
  try {
    return readJwtKeys(text)
  } catch (cause) {
    throw refused((cause as Error).message, cause)
  }
}

/** Read from the text: a number of JavaScript's holds 53 of its 64 bits. */
function sequenceIn(text: string): bigint | undefined {
  let found: bigint | undefined
  const revive = (
    name: string,
    value: unknown,
    context?: { readonly source?: string },
  ): unknown => {
    const source = context?.source ?? ''
    if (name === 'spiffe_sequence' && typeof value === 'number' && /^\d{1,20}$/.test(source)) {
      found = BigInt(source)
    }
    return value
  }
  JSON.parse(text, revive)
  return found
}

function refused(why: string, cause?: unknown): CaError {
  return new CaError('CA_FEDERATION_INVALID', `Cannot read the bundle: ${why}`, { cause })
}
