/**
 * Whether a CA that is plugged in can sign for this mesh: every rule by name, so that an operator
 * hears all that is wrong at once; then a leaf is signed and judged as peers will judge it, so that
 * nothing which they would refuse is ever put in force.
 */
import { createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto'

import { CaError } from '../error.ts'
import { createSvidSigner } from '../issue/issue-svid.ts'
import { earlier, planSvid, SERIAL_BYTES } from '../issue/template.ts'
import type { Authority } from '../keys/authority.ts'
import { localKey, type SigningKey, storeIdOf } from '../keys/signing-key.ts'
import { serviceAccountId, type TrustDomain } from '../spiffe/index.ts'
import { sameBytes } from '../x509/certificate.ts'
import { type Certificate, derFromPem, readCertificate, verifySvid } from '../x509/index.ts'
import { isIssuedBy } from '../x509/known-issuers.ts'
import { meetsConstraints } from '../x509/name-constraints.ts'
import type { PluggedFiles } from './files.ts'

/** A CA of somebody else's that signs for us. */
export interface PluggedCa {
  readonly authority: Authority
  /** DER, from the issuer of the authority up, without the root: what goes with each leaf. */
  readonly intermediates: readonly Uint8Array[]
  /** DER of every root in the set. */
  readonly roots: readonly Uint8Array[]
  /** DER of the root that it chains to: one of `roots`. */
  readonly anchor: Uint8Array
  /** When the first of the authority and its intermediates ends: all that it signs ends by then. */
  readonly endsAt: Temporal.Instant
}

export interface JudgeInput {
  readonly trustDomain: TrustDomain
  readonly now: Temporal.Instant
  /** Finds a key that is not among the files. */
  readonly openKey: (id: string) => Promise<SigningKey | undefined>
}

/**
 * The CA in `files`.
 *
 * @throws {CaError} `CA_CONFIG_INVALID` with everything that is wrong
 */
export async function judgePlugged(files: PluggedFiles, input: JudgeInput): Promise<PluggedCa> {
  const faults: string[] = []
  const readPem = (name: string, text: string) => readCertificates(name, text, faults)
  const [certificate, ...further] = readPem('the CA certificate', files.certificate)
  const chain = readPem('the chain', files.chain)
  const roots = readPem('the roots', files.roots)
  const key = await keyOf(files, certificate, input, faults)
  if (!certificate || !key) throw refused(faults)

  const intermediates = [...further, ...chain].filter(
    (one) => !sameBytes(one.der, certificate.der) && !isSelfIssued(one),
  )
  faults.push(...ruleFaults([certificate, ...intermediates], roots, input))
  const above = ordered(certificate, intermediates)
  const plugged = {
    authority: { certificate, key },
    intermediates: above.map(({ der }) => der),
    endsAt: above.map(({ notAfter }) => notAfter).reduce(earlier, certificate.notAfter),
    roots: roots.map(({ der }) => der),
    anchor: anchorOf([certificate, ...intermediates], roots).der,
  }
  if (faults.length === 0) faults.push(...(await probeFaults(plugged, input)))
  if (faults.length > 0) throw refused(faults)
  return plugged
}

function readCertificates(name: string, text: string, faults: string[]): readonly Certificate[] {
  try {
    return derFromPem('CERTIFICATE', text).map((der) => readCertificate(der))
  } catch (cause) {
    faults.push(
      `${name} cannot be read: ${cause instanceof CaError ? cause.message : String(cause)}`,
    )
    return []
  }
}

async function keyOf(
  files: PluggedFiles,
  certificate: Certificate | undefined,
  { openKey }: JudgeInput,
  faults: string[],
): Promise<SigningKey | undefined> {
  if (files.key === undefined) {
    const stored = certificate && (await openKey(storeIdOf(certificate.publicKeyDer)))
    if (!stored) faults.push('there is no key file, and the key is not in the key store either')
    return stored
  }
  try {
    const key = localKey(createPrivateKey(files.key))
    if (certificate && !sameBytes(key.publicKeyDer, certificate.publicKeyDer)) {
      faults.push('the key is not the key of the CA certificate')
    }
    return key
  } catch (cause) {
    const isEncrypted = /ENCRYPTED/.test(files.key)
    const why = isEncrypted ? 'it is encrypted' : (cause as Error).message
    faults.push(`the key cannot be used: ${why}, expected PEM of EC P-256 or P-384, RSA or Ed25519`)
    return undefined
  }
}

function ruleFaults(
  path: readonly [Certificate, ...Certificate[]],
  roots: readonly Certificate[],
  { trustDomain, now }: JudgeInput,
): readonly string[] {
  const [certificate] = path
  return [
    ...path.flatMap((one, at) =>
      signerFaults(
        at === 0 ? 'the CA certificate' : `certificate ${at + 1} of the chain`,
        one,
        trustDomain,
        now,
      ),
    ),
    ...(certificate.ski
      ? []
      : ['the CA certificate has no subject key identifier (RFC 5280 §4.2.1.2)']),
    ...(isRooted(certificate, path, roots)
      ? []
      : ['no chain leads from the CA certificate to one of the roots']),
    ...roots.flatMap((root, at) => (root.isCa ? [] : [`root ${at + 1} is not a CA certificate`])),
  ]
}

function signerFaults(
  what: string,
  { isCa, keyUsage, notBefore, notAfter, uriSans, nameConstraints }: Certificate,
  trustDomain: TrustDomain,
  now: Temporal.Instant,
): readonly string[] {
  const own = `spiffe://${trustDomain}`
  const names = { trustDomain, sans: [{ type: URI }], subjectIsEmpty: true }
  const isPermitted = !nameConstraints || meetsConstraints(nameConstraints, names)
  const rules: readonly (readonly [holds: boolean, fault: string])[] = [
    [isCa, `${what} is not a CA (basicConstraints)`],
    [keyUsage?.includes('keyCertSign') ?? false, `${what} may not sign certificates (keyUsage)`],
    [Temporal.Instant.compare(notBefore, now) <= 0, `${what} is valid from ${notBefore} only`],
    [Temporal.Instant.compare(now, notAfter) < 0, `${what} ended at ${notAfter}`],
    [
      uriSans.every((uri) => uri === own),
      `${what} is named ${uriSans[0]}, expected ${own} or no URI`,
    ],
    [isPermitted, `${what} may not sign for ${trustDomain} (nameConstraints)`],
  ]
  return rules.flatMap(([holds, fault]) => (holds ? [] : [fault]))
}

/** Context tag of a URI among names (RFC 5280 §4.2.1.6). */
const URI = 6

function isSelfIssued({ issuer, subject }: Certificate): boolean {
  return sameBytes(issuer, subject)
}

/** The root that issued the topmost of `path`, or is it; any, if none did: the probe says so then. */
function anchorOf(
  path: readonly [Certificate, ...Certificate[]],
  roots: readonly Certificate[],
): Certificate {
  const [certificate, ...others] = path
  const top = ordered(certificate, others).at(-1) ?? certificate
  const found = roots.find((root) => sameBytes(root.der, top.der) || isIssuedBy(top, root))
  return found ?? certificate
}

function isRooted(
  certificate: Certificate,
  path: readonly Certificate[],
  roots: readonly Certificate[],
): boolean {
  const above = ordered(certificate, path.slice(1)).at(-1) ?? certificate
  return roots.some(
    (root) => sameBytes(root.der, above.der) || sameBytes(root.subject, above.issuer),
  )
}

/** `others` in the order in which they issued each other, starting with the issuer of `certificate`. */
function ordered(certificate: Certificate, others: readonly Certificate[]): readonly Certificate[] {
  const found: Certificate[] = []
  for (let below = certificate; ; ) {
    const next = others.find((one) => !found.includes(one) && sameBytes(one.subject, below.issuer))
    if (!next) return found
    found.push(next)
    below = next
  }
}

/** A leaf of it, judged by the function by which peers judge each other, in both roles. */
async function probeFaults(
  { authority, intermediates, roots }: PluggedCa,
  { trustDomain, now }: JudgeInput,
): Promise<readonly string[]> {
  const { certificate } = authority
  const template = planSvid(
    {
      spiffeId: serviceAccountId(trustDomain, {
        namespace: 'redoubt-system',
        serviceAccount: 'probe',
      }),
      publicKeyDer: localKey(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)
        .publicKeyDer,
      ttl: Temporal.Duration.from({ minutes: 5 }),
    },
    now,
    randomBytes(SERIAL_BYTES),
    certificate.notAfter,
  )
  let leaf: Uint8Array
  try {
    leaf = await createSvidSigner(authority).seal(template)
  } catch (cause) {
    return [`it cannot sign: ${(cause as Error).message}`]
  }
  const isRoot = roots.some((root) => sameBytes(root, certificate.der))
  const chain = [leaf, ...(isRoot ? [] : [certificate.der]), ...intermediates]
  for (const role of ['client', 'server'] as const) {
    const verdict = verifySvid(chain, [{ trustDomain, generation: 0, roots }], now, role)
    if (verdict.kind === 'refused') {
      return [`peers would refuse what it signs: ${verdict.reason}: ${verdict.detail}`]
    }
  }
  return []
}

function refused(faults: readonly string[]): CaError {
  return new CaError('CA_CONFIG_INVALID', faults.join('; '))
}
