/**
 * Root and issuing CA: made on first start, read and checked on every other. Their certificates are
 * files, their keys are in a key store, which finds them by what the certificate says.
 */
import { createPrivateKey, randomBytes } from 'node:crypto'

import { CaError } from '../error.ts'
import { SERIAL_BYTES } from '../issue/template.ts'
import type { TrustDomain } from '../spiffe/index.ts'
import { sameBytes } from '../x509/certificate.ts'
import { type Certificate, derFromPem, pemFromDer, readCertificate } from '../x509/index.ts'
import { type Authority, makeIssuing, makeRoot } from './authority.ts'
import { storeIdOf, type KeyStore, type SigningKey } from './signing-key.ts'
import type { StateDir } from './state-dir.ts'

/** What making authorities needs. */
export interface KeyStoreInput {
  readonly state: StateDir
  readonly store: KeyStore
  readonly trustDomain: TrustDomain
  readonly rootTtl: Temporal.Duration
  readonly caTtl: Temporal.Duration
  /** Called with each new authority before it is written down or used. */
  readonly record: (
    authority: Authority,
    kind: 'root' | 'issuing',
    issuer: Authority,
  ) => Promise<void>
}

/**
 * The root: the one on disk, or a new one.
 *
 * @throws {CaError} `CA_STATE_UNUSABLE` if the files contradict each other or the trust domain, or
 *   the root has ended
 */
export async function openRoot(input: KeyStoreInput, now: Temporal.Instant): Promise<Authority> {
  const stored = await load(input, 'root')
  if (!stored) {
    const key = await input.store.create()
    const root = await makeRoot({ ...input, key, now, ttl: input.rootTtl, serial: newSerial() })
    await save(input, 'root', root, root)
    return root
  }
  if (Temporal.Instant.compare(now, stored.certificate.notAfter) >= 0) {
    throw unusable('root', `the root ended at ${stored.certificate.notAfter}`)
  }
  return stored
}

/**
 * The issuing CA: the one on disk while it is in the first half of its life, or a new one.
 *
 * @throws {CaError} `CA_STATE_UNUSABLE` if the files contradict each other or the root
 */
export async function openIssuing(
  input: KeyStoreInput,
  root: Authority,
  now: Temporal.Instant,
): Promise<Authority> {
  const stored = await load(input, 'issuing')
  if (!stored || isPastHalf(stored, now)) return renewIssuing(input, root, now)
  if (!sameBytes(stored.certificate.issuer, root.certificate.subject)) {
    throw unusable('issuing', 'the stored root did not issue it')
  }
  return stored
}

/** A new issuing CA with a new key, in the ledger and on disk. */
export async function renewIssuing(
  input: KeyStoreInput,
  root: Authority,
  now: Temporal.Instant,
): Promise<Authority> {
  const [key, serial] = [await input.store.create(), newSerial()]
  const issuing = await makeIssuing(root, { ...input, key, now, ttl: input.caTtl, serial })
  await save(input, 'issuing', issuing, root)
  return issuing
}

function isPastHalf({ certificate: { notBefore, notAfter } }: Authority, now: Temporal.Instant) {
  const [from, to] = [notBefore.epochMilliseconds, notAfter.epochMilliseconds]
  return now.epochMilliseconds >= (from + to) / 2
}

type Name = 'root' | 'issuing'

function fileOf(name: Name): string {
  return `${name}.pem`
}

/** The key is in its store by now: a crash in between leaves a key that nobody knows, and no harm. */
async function save(
  { state, record }: KeyStoreInput,
  name: Name,
  authority: Authority,
  issuer: Authority,
): Promise<void> {
  await record(authority, name, issuer)
  await state.write(fileOf(name), pemFromDer('CERTIFICATE', authority.certificate.der))
}

async function load(input: KeyStoreInput, name: Name): Promise<Authority | undefined> {
  const { state, store, trustDomain } = input
  const text = await state.read(fileOf(name))
  if (text === undefined) return undefined
  const certificate = parse(name, text)
  const [uri] = certificate.uriSans
  if (uri !== `spiffe://${trustDomain}`) {
    throw unusable(name, `it belongs to ${uri}, expected spiffe://${trustDomain}`)
  }
  const key = text.includes(PRIVATE_KEY)
    ? await takeKey(input, name, certificate, text)
    : await store.open(storeIdOf(certificate.publicKeyDer))
  if (key) return { certificate, key }
  if (!store.isLasting) return undefined
  throw unusable(name, `its key is not among the ${store.name}`)
}

const PRIVATE_KEY = 'BEGIN PRIVATE KEY'

/** Versions before there were key stores had the key beside the certificate: it goes to the store. */
async function takeKey(
  { state, store }: KeyStoreInput,
  name: Name,
  { publicKeyDer, der }: Certificate,
  text: string,
): Promise<SigningKey> {
  const [pkcs8 = new Uint8Array()] = derFromPem('PRIVATE KEY', text)
  const key = await store.take(
    createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' }),
  )
  if (!sameBytes(key.publicKeyDer, publicKeyDer)) {
    throw unusable(name, 'its key and its certificate do not belong together')
  }
  await state.write(fileOf(name), pemFromDer('CERTIFICATE', der))
  return key
}

function parse(name: Name, text: string): Certificate {
  try {
    const [certificate = new Uint8Array()] = derFromPem('CERTIFICATE', text)
    return readCertificate(certificate)
  } catch (cause) {
    throw unusable(name, `it cannot be read: ${(cause as Error).message}`, cause)
  }
}

function newSerial(): Uint8Array {
  return randomBytes(SERIAL_BYTES)
}

function unusable(name: Name, why: string, cause?: unknown): CaError {
  return new CaError('CA_STATE_UNUSABLE', `Cannot use the stored CA ${fileOf(name)}: ${why}`, {
    cause,
  })
}
