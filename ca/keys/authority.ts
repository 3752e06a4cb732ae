/** The CA's own certificates: what a root and an issuing CA say, and who can sign with them. */
import {
  authorityKeyIdentifier,
  BACKDATE_SECONDS,
  earlier,
  extension,
  extensionList,
  keyUsage,
  subjectKeyIdentifier,
  toSecond,
  uriName,
  VERSION_3,
} from '../issue/template.ts'
import type { TrustDomain } from '../spiffe/index.ts'
import { signedDer } from '../x509/algorithm.ts'
import { derOf, oid, sequence, TAG, unsignedInteger } from '../x509/der.ts'
import { type Certificate, keyIdentifier, OID, readCertificate } from '../x509/index.ts'
import { timeDer } from '../x509/time.ts'
import type { SigningKey } from './signing-key.ts'

/** A CA certificate together with the key that it names. */
export interface Authority {
  readonly certificate: Certificate
  readonly key: SigningKey
  /** DER of what goes with each leaf after it. @default the certificate */
  readonly presented?: readonly Uint8Array[]
  /** When the first of its chain below the root ends; peers believe nothing after. @default the certificate's end */
  readonly endsAt?: Temporal.Instant
}

/** Until when leaves of `authority` can be believed. */
export function endOf({ certificate, endsAt }: Authority): Temporal.Instant {
  return endsAt ?? certificate.notAfter
}

/** An authority from its parts. @throws {CaError} `CA_DER_INVALID` */
export function authorityOf(certificateDer: Uint8Array, key: SigningKey): Authority {
  return { certificate: readCertificate(certificateDer), key }
}

/** What making a CA certificate needs. */
export interface AuthorityInput {
  readonly trustDomain: TrustDomain
  readonly key: SigningKey
  readonly now: Temporal.Instant
  readonly ttl: Temporal.Duration
  /** 16 random bytes. */
  readonly serial: Uint8Array
}

/** A self-signed root that allows one CA below it. */
export async function makeRoot(input: AuthorityInput): Promise<Authority> {
  const { key } = input
  const ski = keyIdentifier(key.publicKeyDer)
  const shape = { role: 'root', pathLength: 1, notAfter: end(input) } as const
  return authorityOf(await sealed(input, shape, { name: caName('root', ski), ski, key }), key)
}

/** An issuing CA under `root`, which allows leaves only and ends no later than the root. */
export async function makeIssuing(root: Authority, input: AuthorityInput): Promise<Authority> {
  const { certificate, key } = root
  const by = { name: certificate.subject, ski: skiOf(certificate), key }
  const notAfter = earlier(end(input), certificate.notAfter)
  return authorityOf(
    await sealed(input, { role: 'issuing', pathLength: 0, notAfter }, by),
    input.key,
  )
}

/** The subject key identifier, which every certificate made here has. */
export function skiOf({ ski, publicKeyDer }: Certificate): Uint8Array {
  return ski ?? keyIdentifier(publicKeyDer)
}

interface Issuer {
  readonly name: Uint8Array
  readonly ski: Uint8Array
  readonly key: SigningKey
}

interface Shape {
  readonly role: 'root' | 'issuing'
  readonly pathLength: number
  readonly notAfter: Temporal.Instant
}

async function sealed(
  { trustDomain, key, now, serial }: AuthorityInput,
  { role, pathLength, notAfter }: Shape,
  issuer: Issuer,
): Promise<Uint8Array> {
  const { publicKeyDer: spki } = key
  const { signer } = issuer.key
  const ski = keyIdentifier(spki)
  const tbs = sequence(
    VERSION_3,
    unsignedInteger(serial),
    signer.algorithmDer,
    issuer.name,
    sequence(timeDer(now.subtract({ seconds: BACKDATE_SECONDS })), timeDer(notAfter)),
    caName(role, ski),
    spki,
    extensionList(
      keyUsage(CERT_SIGN | CRL_SIGN, 1),
      extension(OID.basicConstraints, caConstraints(pathLength), 'critical'),
      subjectKeyIdentifier(ski),
      authorityKeyIdentifier(issuer.ski),
      uriName(`spiffe://${trustDomain}`, 'plain'),
    ),
  )
  return signedDer(tbs, signer, await issuer.key.sign(tbs))
}

const CERT_SIGN = 0x04
const CRL_SIGN = 0x02

function caConstraints(pathLength: number): Uint8Array {
  return sequence(
    derOf(TAG.boolean, Uint8Array.of(0xff)),
    unsignedInteger(Uint8Array.of(pathLength)),
  )
}

/**
 * `CN=Redoubt <role> <start of the key identifier>`: two generations never share a name, so that no
 * verifier has to guess between them. Short, because every leaf repeats it.
 */
function caName(role: 'root' | 'issuing', ski: Uint8Array): Uint8Array {
  const id = Buffer.from(ski).toString('hex').slice(0, 8)
  const text = derOf(TAG.utf8String, Buffer.from(`Redoubt ${role} ${id}`))
  return sequence(derOf(TAG.set, sequence(oid(OID.commonName), text)))
}

function end({ now, ttl }: AuthorityInput): Temporal.Instant {
  return toSecond(now.add(ttl))
}
