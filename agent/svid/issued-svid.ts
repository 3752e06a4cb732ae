import { generateKeyPair, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import type { SpiffeId } from '#ca/spiffe/index.ts'
import {
  buildCsr,
  type Life,
  readCertificate,
  type TrustBundle,
  verifySvid,
} from '#ca/x509/index.ts'
import { AgentError } from '../error.ts'

/** A key that nobody has certified yet, and the request for it. */
export interface SvidRequest {
  readonly id: SpiffeId
  readonly key: KeyObject
  /** SubjectPublicKeyInfo of `key`. */
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

/** What comes of it when the public half alone is to be encoded, which the types do not know. */
interface GeneratedPair {
  readonly publicKey: Buffer
  readonly privateKey: KeyObject
}

/** A new key (ECDSA P-256, design.md §2) and its request. Every rotation has a key of its own. */
export async function createRequest(id: SpiffeId, ttl?: Temporal.Duration): Promise<SvidRequest> {
  // Encoded beside the making of it, off this thread.
  const publicKeyEncoding = { type: 'spki', format: 'der' } as const
  const pair = await generate('ec', { namedCurve: 'P-256', publicKeyEncoding })
  const { publicKey: publicKeyDer, privateKey: key } = pair as unknown as GeneratedPair
  return { id, key, publicKeyDer, csr: buildCsr(key, {}, publicKeyDer), ttl }
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
  { bundles, now }: { readonly bundles: readonly TrustBundle[]; readonly now: Temporal.Instant },
): IssuedSvid {
  const { id, key, publicKeyDer } = request
  const { chain, issuedAt } = answer
  const refused = (why: string): AgentError =>
    new AgentError('AGENT_SVID_INVALID', `Cannot take the SVID for "${id}": ${why}`)

  const verdict = verifySvid(chain, bundles, now, 'server')
  if (verdict.kind === 'refused') throw refused(`${verdict.reason}: ${verdict.detail}`)
  if (verdict.id !== id)
    throw refused(`it names "${verdict.id}", expected the name that is asked for`)
  const [leaf] = chain
  if (!leaf || !sameBytes(readCertificate(leaf).publicKeyDer, publicKeyDer))
    throw refused('it is over a key that is not the one requested')
  if (Temporal.Instant.compare(issuedAt, verdict.notAfter) >= 0) {
    throw refused(`it was issued at ${issuedAt}, after its end at ${verdict.notAfter}`)
  }
  const keyDer = key.export({ type: 'pkcs8', format: 'der' })
  return {
    id,
    // Copies: the parts of an answer keep all of it, and the pool that it was read into.
    chain: chain.map((der) => new Uint8Array(der)),
    keyDer,
    serial: verdict.serial,
    keyIds: verdict.keyIds,
    life: { issuedAt, notAfter: verdict.notAfter },
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}
