/** Certificates as the world outside a mesh has them: of names, by a CA that no mesh believes. */
import 'reflect-metadata'
import { createPrivateKey } from 'node:crypto'
import * as x509 from '@peculiar/x509'

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const DAY_MS = 86_400_000

export interface WebIdentity {
  /** PEM. */
  readonly certificate: string
  /** PEM, PKCS#8. */
  readonly key: string
}

export interface WebCa {
  /** PEM of its root. */
  readonly root: string
  readonly issue: (name: string, use: 'server' | 'client') => Promise<WebIdentity>
}

export async function createWebCa(): Promise<WebCa> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
  const life = { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + DAY_MS) }
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=outside',
    keys,
    ...life,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
    ],
  })
  return {
    root: root.toString('pem'),
    async issue(name, use) {
      const own = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
      const usage = x509.ExtendedKeyUsage[use === 'server' ? 'serverAuth' : 'clientAuth']
      const leaf = await x509.X509CertificateGenerator.create({
        subject: `CN=${name}`,
        issuer: root.subject,
        ...life,
        publicKey: own.publicKey,
        signingKey: keys.privateKey,
        signingAlgorithm: ALGORITHM,
        extensions: [
          new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: name }]),
          new x509.ExtendedKeyUsageExtension([usage]),
        ],
      })
      const pkcs8 = Buffer.from(await crypto.subtle.exportKey('pkcs8', own.privateKey))
      const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
      return {
        certificate: leaf.toString('pem'),
        key: key.export({ type: 'pkcs8', format: 'pem' }) as string,
      }
    },
  }
}
