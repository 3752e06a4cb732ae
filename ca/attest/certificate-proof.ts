/**
 * Proof of possession: a machine that has a certificate of another authority shows it, and signs with
 * its key what nobody could have signed before: a challenge of ours and the very request that it asks
 * us to certify.
 */
import {
  createHmac,
  createPublicKey,
  hash,
  randomBytes,
  timingSafeEqual,
  verify,
} from 'node:crypto'

import type { LeftKey } from '../authorities/tainted.ts'
import { CaError } from '../error.ts'
import type { TrustDomain } from '../spiffe/index.ts'
import { findPath } from '../x509/chain.ts'
import {
  type Certificate,
  type Denies,
  findDenied,
  keyIdOf,
  readCertificate,
} from '../x509/index.ts'
import type { KnownAgent } from './join-token.ts'
import { filledAgent } from './kubernetes.ts'

/** What a machine sends. */
export interface CertificateProof {
  /** DER, leaf first, at most {@link MAX_CHAIN}. */
  readonly chain: readonly Uint8Array[]
  /** As it came. */
  readonly challenge: Uint8Array
  /** Over {@link proofText}: ECDSA in DER, PKCS#1 v1.5 or Ed25519, with SHA-256 but for the last. */
  readonly signature: Uint8Array
}

/** Machines that are believed. */
export interface CertificateRule {
  /** DER of the authorities of their certificates. */
  readonly roots: readonly Uint8Array[]
  /** A DNS or URI name that the certificate must have; `*.` at its start stands for one label. */
  readonly name: string
  /** SPIFFE ID; `{name}` stands for the DNS name that fitted. */
  readonly agentId: string
  /** As a join token's; `{name}` too. */
  readonly scope: readonly string[]
}

/** What of our own authorities is trusted no longer, for machines that show a certificate of theirs. */
export interface Distrust {
  readonly denies: () => Denies | undefined
  /** The authority with one of these keys that is tainted or revoked. */
  readonly leftKey: (keyIds: readonly string[]) => LeftKey | undefined
}

export interface CertificateAttestor {
  readonly challenge: (now: Temporal.Instant) => Uint8Array
  /** @throws {CaError} `CA_EVIDENCE_REFUSED`, `CA_CERTIFICATE_TAINTED` */
  readonly attest: (
    proof: CertificateProof,
    csrDer: Uint8Array,
    now: Temporal.Instant,
  ) => { readonly agent: KnownAgent; readonly by: string }
}

/** Certificates of one machine: four intermediates at most. */
export const MAX_CHAIN = 5

/** A challenge is answered at once, or not at all. */
const CHALLENGE_MS = 60_000

const NONCE_BYTES = 24
const TIME_BYTES = 8
const MAC_BYTES = 32

/** Challenges that were answered, kept until they end; more answers than this in a minute are refused. */
const MAX_USED = 10_000

/** What is signed: nothing else that the key could ever be asked to sign looks like it. */
export function proofText(
  trustDomain: TrustDomain,
  challenge: Uint8Array,
  csrDer: Uint8Array,
): Uint8Array {
  const head = Buffer.from(`redoubt attestation by certificate\n${trustDomain}\n`)
  return Buffer.concat([head, challenge, hash('sha256', csrDer, 'buffer')])
}

export function createCertificateAttestor(
  rules: readonly CertificateRule[],
  trustDomain: TrustDomain,
  distrust: Distrust,
): CertificateAttestor {
  const challenges = createChallenges()
  return {
    challenge: challenges.make,
    attest({ chain, challenge, signature }, csrDer, now) {
      const [leaf, ...others] = readChain(chain)
      if (!leaf) throw refused('it has no certificate')
      const { rule, name, path } = ruleFor(leaf, others, { rules, trustDomain, now })
      assertTrusted(path, distrust, now)
      if (!isSigned(leaf, proofText(trustDomain, challenge, csrDer), signature)) {
        throw refused('the challenge and the request are not signed by its key')
      }
      // Last: only who has the key may use a challenge up.
      challenges.use(challenge, now)
      const agent = filledAgent(rule, { name: name.includes(':') ? undefined : name }, trustDomain)
      return { agent, by: `certificate:${name}` }
    },
  }
}

/** Challenges that carry their own end, so that making one costs no memory. */
function createChallenges() {
  const secret = randomBytes(32)
  const used = new Map<string, number>()
  const macOf = (body: Uint8Array) => createHmac('sha256', secret).update(body).digest()
  return {
    make: (now: Temporal.Instant): Uint8Array => {
      const time = Buffer.alloc(TIME_BYTES)
      time.writeBigInt64BE(BigInt(now.epochMilliseconds))
      const body = Buffer.concat([randomBytes(NONCE_BYTES), time])
      return Buffer.concat([body, macOf(body)])
    },
    use(challenge: Uint8Array, now: Temporal.Instant): void {
      const bytes = Buffer.from(challenge)
      const body = bytes.subarray(0, NONCE_BYTES + TIME_BYTES)
      const mac = bytes.subarray(NONCE_BYTES + TIME_BYTES)
      if (mac.length !== MAC_BYTES || !timingSafeEqual(mac, macOf(body))) {
        throw refused('the challenge is not of this CA')
      }
      const nowMs = now.epochMilliseconds
      const ageMs = nowMs - Number(body.readBigInt64BE(NONCE_BYTES))
      if (ageMs < 0 || ageMs > CHALLENGE_MS) throw refused('the challenge has ended')
      for (const [old, usedMs] of used) {
        if (nowMs - usedMs <= CHALLENGE_MS) break
        used.delete(old)
      }
      const name = body.toString('base64')
      if (used.has(name)) throw refused('the challenge was answered before')
      if (used.size >= MAX_USED) throw refused('too many challenges were answered')
      used.set(name, nowMs)
    },
  }
}

function readChain(chain: readonly Uint8Array[]): readonly Certificate[] {
  if (chain.length > MAX_CHAIN) throw refused(`its chain has ${chain.length} certificates`)
  try {
    return chain.map((der) => readCertificate(der))
  } catch (cause) {
    throw refused((cause as Error).message, cause)
  }
}

/** The first rule whose roots lead to the certificate and whose name it has; what was wrong otherwise. */
function ruleFor(
  leaf: Certificate,
  others: readonly Certificate[],
  {
    rules,
    trustDomain,
    now,
  }: {
    readonly rules: readonly CertificateRule[]
    readonly trustDomain: TrustDomain
    readonly now: Temporal.Instant
  },
): {
  readonly rule: CertificateRule
  readonly name: string
  readonly path: readonly Certificate[]
} {
  if (leaf.isCa) throw refused('its certificate is a CA')
  if (leaf.keyUsage && !leaf.keyUsage.includes('digitalSignature')) {
    throw refused('its certificate may not sign')
  }
  let why = 'no authority that is believed issued its certificate'
  for (const rule of rules) {
    const bundle = { trustDomain, roots: rule.roots }
    const path = findPath(leaf, { others, bundle, domain: trustDomain, now, role: 'client' })
    if (path.kind === 'refused') {
      if (path.reason !== 'untrusted-issuer') why = `${path.reason}: ${path.detail}`
      continue
    }
    const name = namesOf(leaf).find((one) => fits(one, rule.name))
    if (name !== undefined) return { rule, name, path: path.certificates }
    why = 'its certificate has no name that is expected'
  }
  throw refused(why)
}

/** Of certificates of our own authorities, where an operator believes these: only what can be renewed. */
function assertTrusted(
  path: readonly Certificate[],
  { denies, leftKey }: Distrust,
  now: Temporal.Instant,
): void {
  const keyIds = path.map(keyIdOf)
  const left = leftKey(keyIds)
  if (left) {
    throw new CaError(
      'CA_CERTIFICATE_TAINTED',
      `Cannot believe the certificate: the key ${left.keyId} that signed it is ${left.state}; have it renewed by whoever issued it, or attest with a join token`,
    )
  }
  const { serial = '', uriSans = [] } = path[0] ?? {}
  const denied = findDenied(denies(), { id: uriSans[0] ?? '', serial, keyIds }, now)
  if (denied) throw refused(`the ${denied.kind} ${denied.value} is on the deny-list`)
}

const DNS = 2

function namesOf({ sans, uriSans }: Certificate): readonly string[] {
  const dns = sans.flatMap(({ type, value }) =>
    type === DNS ? [Buffer.from(value).toString('latin1').toLowerCase()] : [],
  )
  return [...dns, ...uriSans]
}

function fits(name: string, wanted: string): boolean {
  if (!wanted.startsWith('*.')) return name === wanted
  const [label = '', ...rest] = name.split('.')
  return label !== '' && label !== '*' && `*.${rest.join('.')}` === wanted
}

function isSigned(
  { publicKeyDer, key }: Certificate,
  text: Uint8Array,
  signature: Uint8Array,
): boolean {
  try {
    const spki = { key: Buffer.from(publicKeyDer), format: 'der', type: 'spki' } as const
    return verify(key.type === 'ed25519' ? null : 'sha256', text, createPublicKey(spki), signature)
  } catch {
    return false // a point off its curve, for one
  }
}

function refused(why: string, cause?: unknown): CaError {
  return new CaError('CA_EVIDENCE_REFUSED', `Cannot believe the certificate: ${why}`, { cause })
}
