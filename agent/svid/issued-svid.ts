import { createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import type { SpiffeId } from '#ca/spiffe/index.ts'
import {
  buildCsr,
  type Life,
  pemFromDer,
  readCertificate,
  type TrustBundle,
  verifySvid,
} from '#ca/x509/index.ts'
import { AgentError } from '../error.ts'

/** A key that nobody has certified yet, and the request for it. */
export interface SvidRequest {
  readonly id: SpiffeId
  readonly key: KeyObject
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
  readonly chainPem: string
  /** PKCS#8, DER. */
  readonly keyDer: Uint8Array
  readonly keyPem: string
  /** Lower-case hex. */
  readonly serial: string
  /** Of its own key and of each CA above it; what a deny-list may name. */
  readonly keyIds: readonly string[]
  readonly life: Life
}

const generate = promisify(generateKeyPair)

/** A new key (ECDSA P-256, design.md §2) and its request. Every rotation has a key of its own. */
export async function createRequest(id: SpiffeId, ttl?: Temporal.Duration): Promise<SvidRequest> {
  const { privateKey } = await generate('ec', { namedCurve: 'P-256' })
  return { id, key: privateKey, csr: buildCsr(privateKey), ttl }
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
  const { id, key } = request
  const { chain, issuedAt } = answer
  const refused = (why: string): AgentError =>
    new AgentError('AGENT_SVID_INVALID', `Cannot take the SVID for "${id}": ${why}`)

  const verdict = verifySvid(chain, bundles, now, 'server')
  if (verdict.kind === 'refused') throw refused(`${verdict.reason}: ${verdict.detail}`)
  if (verdict.id !== id) throw refused(`it names "${verdict.id}"`)
  const [leaf] = chain
  if (!leaf || !isOver(leaf, key)) throw refused('it is over a key that is not the one requested')
  if (Temporal.Instant.compare(issuedAt, verdict.notAfter) >= 0) {
    throw refused(`it was issued at ${issuedAt}, after its end at ${verdict.notAfter}`)
  }
  const keyDer = key.export({ type: 'pkcs8', format: 'der' })
  return {
    id,
    chain,
    chainPem: pemFromDer('CERTIFICATE', chain),
    keyDer,
    keyPem: pemFromDer('PRIVATE KEY', keyDer),
    serial: verdict.serial,
    keyIds: verdict.keyIds,
    life: { issuedAt, notAfter: verdict.notAfter },
  }
}

function isOver(leaf: Uint8Array, key: KeyObject): boolean {
  const ours = createPublicKey(key).export({ type: 'spki', format: 'der' })
  return ours.equals(readCertificate(leaf).publicKeyDer)
}
