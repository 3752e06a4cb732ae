/** SVIDs that verify, made without a CA process. */
import 'reflect-metadata'
import { createPrivateKey } from 'node:crypto'
import * as x509 from '@peculiar/x509'
import type { Svid } from '#agent/client/index.ts'
import { parseSpiffeId, type SpiffeId, type TrustDomain } from '#ca/spiffe/index.ts'
import type { TrustBundle } from '#ca/x509/index.ts'

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const

export interface FakeSvidOptions {
  /** Milliseconds from now. @default an hour */
  readonly lifeMs?: number
  /** What the SVID's owner judges others by. @default the issuer's own bundle */
  readonly bundles?: readonly TrustBundle[]
}

export interface FakeIssuer {
  readonly bundle: TrustBundle
  readonly issue: (id: string, options?: FakeSvidOptions) => Promise<Svid>
}

/** A root of its own, and whatever SVIDs a test wants of it. */
export async function createFakeIssuer(trustDomain = 'cluster.local'): Promise<FakeIssuer> {
  const startMs = Date.now()
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'O=fake root',
    keys,
    notBefore: new Date(startMs - 60_000),
    notAfter: new Date(startMs + 86_400_000),
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${trustDomain}` }]),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  const bundle: TrustBundle = {
    trustDomain: trustDomain as TrustDomain,
    generation: 1,
    roots: [new Uint8Array(root.rawData)],
  }

  async function issue(text: string, options: FakeSvidOptions = {}): Promise<Svid> {
    const { lifeMs = 3_600_000, bundles = [bundle] } = options
    const id: SpiffeId = parseSpiffeId(text)
    const leafKeys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
    const notBefore = new Date(startMs - 60_000)
    const notAfter = new Date(Date.now() + lifeMs)
    const leaf = await x509.X509CertificateGenerator.create({
      subject: '',
      issuer: root.subject,
      notBefore,
      notAfter,
      publicKey: leafKeys.publicKey,
      signingKey: keys.privateKey,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([
          x509.ExtendedKeyUsage.clientAuth,
          x509.ExtendedKeyUsage.serverAuth,
        ]),
        new x509.SubjectAlternativeNameExtension([{ type: 'url', value: id }], true),
        await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey),
      ],
    })
    const pkcs8 = Buffer.from(await crypto.subtle.exportKey('pkcs8', leafKeys.privateKey))
    const keyPem = x509.PemConverter.encode(pkcs8, 'PRIVATE KEY')
    return {
      id,
      chain: [new Uint8Array(leaf.rawData)],
      chainPem: `${leaf.toString('pem')}\n`,
      key: createPrivateKey(keyPem),
      keyPem,
      serial: leaf.serialNumber.toLowerCase(),
      issuedAt: Temporal.Instant.fromEpochMilliseconds(startMs),
      notBefore: Temporal.Instant.fromEpochMilliseconds(notBefore.getTime()),
      notAfter: Temporal.Instant.fromEpochMilliseconds(notAfter.getTime()),
      bundles,
    }
  }
  return { bundle, issue }
}
