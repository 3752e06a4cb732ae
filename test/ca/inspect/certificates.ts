/** Certificates for tests, right or wrong on purpose, made by a library that is not our encoder. */
import 'reflect-metadata'
import { webcrypto } from 'node:crypto'

import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'

export const NOW: Temporal.Instant = Temporal.Instant.from('2026-11-21T12:00:00Z')

export { Extension, KeyUsageFlags }

const SERVER = '1.3.6.1.5.5.7.3.1'
const CLIENT = '1.3.6.1.5.5.7.3.2'

/** What may be wrong with a certificate; each field left out is right. */
export interface Wish {
  readonly uris?: readonly string[]
  readonly dns?: readonly string[]
  readonly sanCritical?: boolean
  readonly usage?: number | null
  readonly usageCritical?: boolean
  readonly extendedUsage?: readonly string[] | null
  readonly ca?: boolean
  readonly constraintsCritical?: boolean
  readonly subject?: string
  readonly serial?: string
  readonly notBefore?: string
  readonly notAfter?: string
  readonly more?: readonly Extension[]
  readonly keyIdentifiers?: boolean
  readonly algorithm?: webcrypto.EcKeyGenParams | webcrypto.RsaHashedKeyGenParams
  readonly issuer?: Made
}

export interface Made {
  readonly der: Uint8Array
  readonly pem: string
  readonly keyPem: string
  readonly subject: string
  readonly keys: webcrypto.CryptoKeyPair
}

const P256 = { name: 'ECDSA', namedCurve: 'P-256' }
const reusable = new Map<string, Promise<webcrypto.CryptoKeyPair>>()

async function keysFor(
  algorithm: webcrypto.EcKeyGenParams | webcrypto.RsaHashedKeyGenParams,
  name: string,
): Promise<webcrypto.CryptoKeyPair> {
  const id = `${name} ${JSON.stringify(algorithm)}`
  const keys =
    reusable.get(id) ??
    (webcrypto.subtle.generateKey(algorithm, true, [
      'sign',
      'verify',
    ]) as Promise<webcrypto.CryptoKeyPair>)
  reusable.set(id, keys)
  return keys
}

/** A good SVID for `spiffe://td/ns/pay/sa/api`, or a good root with `ca`, but for the wish. */
export async function makeCertificate(wish: Wish = {}): Promise<Made> {
  const { ca = false, issuer, algorithm = P256 } = wish
  const { subject = ca ? 'CN=Root' : '' } = wish
  const keys = await keysFor(algorithm, `${ca} ${subject}`)
  const certificate = await X509CertificateGenerator.create({
    serialNumber: wish.serial ?? '7f2b5a9c31e84d06b7d1c05e9a3f6218',
    subject,
    issuer: issuer?.subject ?? (subject || 'CN=Root'),
    notBefore: new Date(wish.notBefore ?? '2026-11-21T11:58:00Z'),
    notAfter: new Date(wish.notAfter ?? '2026-11-21T13:00:00Z'),
    signingAlgorithm: { ...algorithm, hash: 'SHA-256' },
    publicKey: keys.publicKey,
    signingKey: (issuer?.keys ?? keys).privateKey,
    extensions: await extensionsFor(wish, keys),
  })
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)
  return {
    der: new Uint8Array(certificate.rawData),
    pem: `${certificate.toString('pem')}\n`,
    keyPem: `-----BEGIN PRIVATE KEY-----\n${Buffer.from(pkcs8).toString('base64')}\n-----END PRIVATE KEY-----\n`,
    subject,
    keys,
  }
}

async function extensionsFor(wish: Wish, keys: webcrypto.CryptoKeyPair): Promise<Extension[]> {
  const { ca = false, uris = [ca ? 'spiffe://td' : 'spiffe://td/ns/pay/sa/api'], dns = [] } = wish
  const { usage = ca ? KeyUsageFlags.keyCertSign : KeyUsageFlags.digitalSignature } = wish
  const { extendedUsage = ca ? null : [SERVER, CLIENT], issuer, keyIdentifiers = true } = wish
  const names = [
    ...uris.map((value) => ({ type: 'url' as const, value })),
    ...dns.map((value) => ({ type: 'dns' as const, value })),
  ]
  return [
    ...(names.length > 0
      ? [new SubjectAlternativeNameExtension(names, wish.sanCritical ?? true)]
      : []),
    ...(ca
      ? [new BasicConstraintsExtension(true, undefined, wish.constraintsCritical ?? true)]
      : []),
    ...(usage === null ? [] : [new KeyUsagesExtension(usage, wish.usageCritical ?? true)]),
    ...(extendedUsage ? [new ExtendedKeyUsageExtension([...extendedUsage])] : []),
    ...(keyIdentifiers
      ? [
          await SubjectKeyIdentifierExtension.create(keys.publicKey),
          await AuthorityKeyIdentifierExtension.create((issuer?.keys ?? keys).publicKey),
        ]
      : []),
    ...(wish.more ?? []),
  ]
}
