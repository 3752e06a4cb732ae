import { generateKeyPair } from 'node:crypto'
import { promisify } from 'node:util'
import type { SpiffeId } from '#ca/spiffe/index.ts'
import {
  buildCsr,
  type Life,
  p256Pkcs8,
  p256Spki,
  readPublicKey,
  type TrustBundle,
  verifySvid,
} from '#ca/x509/index.ts'
import { AgentError } from '../error.ts'

/** A key that nobody has certified yet, and the request for it. */
export interface SvidRequest {
  readonly id: SpiffeId
  /** PKCS#8, DER. */
  readonly keyDer: Uint8Array
  /** SubjectPublicKeyInfo of the key. */
  readonly publicKeyDer: Uint8Array
  /** PKCS#10, DER. */
  readonly csr: Uint8Array
  /** Wanted life; `undefined` leaves it to the CA. */
  readonly ttl?: Temporal.Duration | undefined
}

/** What the CA answered to one request, not yet judged. */
export interface SvidAnswer {
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[]
  readonly issuedAt: Temporal.Instant
}

/** An SVID with its key, judged: chain, name and key are what was asked for. */
export interface IssuedSvid {
  readonly id: SpiffeId
  /** DER, leaf first, without the root. */
  readonly chain: readonly Uint8Array[]
  /** PKCS#8, DER. */
  readonly keyDer: Uint8Array
  /** Lower-case hex. */
  readonly serial: string
  /** Of its own key and of each CA above it; what a deny-list may name. */
  readonly keyIds: readonly string[]
  readonly life: Life
}

const generate = promisify(generateKeyPair)

/** A new key (ECDSA P-256, design.md §2) and its request. Every rotation has a key of its own. */
export async function createRequest(id: SpiffeId, ttl?: Temporal.Duration): Promise<SvidRequest> {
  const { publicKey, privateKey } = await generate('ec', { namedCurve: 'P-256' })
  const point = publicKey.export({ format: 'raw-public' })
  const scalar = privateKey.export({ format: 'raw-private' })
  const publicKeyDer = p256Spki(point)
  const keyDer = p256Pkcs8(scalar, point)
  scalar.fill(0) // one copy of it is enough
  return { id, keyDer, publicKeyDer, csr: buildCsr(privateKey, {}, publicKeyDer), ttl }
}

/** What an answer is judged by. */
export interface Judging {
  readonly bundles: readonly TrustBundle[]
  readonly now: Temporal.Instant
  /** Memory for a certificate of a CA; see shared-issuers.ts. @default its own */
  readonly share?: (der: Uint8Array) => Uint8Array
}

/**
 * Takes the CA's answer to `request`, if it is one: a chain to a root of `bundles`, valid at `now`,
 * for the wanted ID and over our key. An answer is judged before anything is served from it.
 *
 * @throws {AgentError} `AGENT_SVID_INVALID`
 */
export function acceptSvid(
  request: SvidRequest,
  answer: SvidAnswer,
  { bundles, now, share = copyOf }: Judging,
): IssuedSvid {
  const { id, keyDer, publicKeyDer } = request
  const { chain, issuedAt } = answer
  const refused = (why: string): AgentError =>
    new AgentError('AGENT_SVID_INVALID', `Cannot take the SVID for "${id}": ${why}`)

  const verdict = verifySvid(chain, bundles, now, 'server')
  if (verdict.kind === 'refused') throw refused(`${verdict.reason}: ${verdict.detail}`)
  if (verdict.id !== id)
    throw refused(`it names "${verdict.id}", which is not the name that was asked for`)
  const [leaf, ...issuers] = chain
  if (!leaf || !sameBytes(readPublicKey(leaf), publicKeyDer))
    throw refused('it is over a key that is not the one requested')
  if (Temporal.Instant.compare(issuedAt, verdict.notAfter) >= 0) {
    throw refused(`it was issued at ${issuedAt}, after its end at ${verdict.notAfter}`)
  }
  return {
    id,
    // Copies: the parts of an answer keep all of it, and the pool that it was read into.
    chain: [copyOf(leaf), ...issuers.map(share)],
    keyDer,
    serial: verdict.serial,
    keyIds: verdict.keyIds,
    life: { issuedAt, notAfter: verdict.notAfter },
  }
}

function copyOf(der: Uint8Array): Uint8Array {
  return new Uint8Array(der)
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}
