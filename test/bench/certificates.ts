/** One root, one client and one server certificate with SPIFFE IDs (P-256), as files, for the peers. */
import 'reflect-metadata'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as x509 from '@peculiar/x509'

export const CLIENT_ID = 'spiffe://cluster.local/ns/bench/sa/client'
export const SERVER_ID = 'spiffe://cluster.local/ns/bench/sa/server'

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const LIFE_MS = 24 * 3600 * 1000

/** Writes `ca.pem`, `{client,server}.{pem,key}` and haproxy's joint `{client,server}.haproxy.pem`. */
export async function writeCertificates(directory: string): Promise<void> {
  const notBefore = new Date(Date.now() - 60_000)
  const notAfter = new Date(Date.now() + LIFE_MS)
  const rootKeys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=bench root',
    keys: rootKeys,
    notBefore,
    notAfter,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
    ],
  })
  writeFileSync(join(directory, 'ca.pem'), root.toString('pem'))
  for (const [name, id] of [
    ['client', CLIENT_ID],
    ['server', SERVER_ID],
  ] as const) {
    const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
    const leaf = await x509.X509CertificateGenerator.create({
      subject: `CN=${name}.bench`,
      issuer: root.subject,
      notBefore,
      notAfter,
      publicKey: keys.publicKey,
      signingKey: rootKeys.privateKey,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([
          x509.ExtendedKeyUsage.clientAuth,
          x509.ExtendedKeyUsage.serverAuth,
        ]),
        new x509.SubjectAlternativeNameExtension([
          { type: 'url', value: id },
          { type: 'dns', value: `${name}.bench` },
        ]),
      ],
    })
    const pkcs8 = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey))
    const key = x509.PemConverter.encode(pkcs8, 'PRIVATE KEY')
    const pem = leaf.toString('pem')
    writeFileSync(join(directory, `${name}.pem`), `${pem}\n`)
    writeFileSync(join(directory, `${name}.key`), `${key}\n`, { mode: 0o600 })
    writeFileSync(join(directory, `${name}.haproxy.pem`), `${pem}\n${key}\n`, { mode: 0o600 })
  }
}
