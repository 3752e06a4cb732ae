/** Root and issuing CA in files: made on first start, read and checked on every other. */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto'

import { CaError } from '../error.ts'
import { SERIAL_BYTES } from '../issue/template.ts'
import type { TrustDomain } from '../spiffe/index.ts'
import { sameBytes } from '../x509/certificate.ts'
import { derFromPem, pemFromDer } from '../x509/index.ts'
import { type Authority, authorityOf, makeIssuing, makeRoot } from './authority.ts'
import type { StateDir } from './state-dir.ts'

/** What making authorities needs. */
export interface KeyStoreInput {
  readonly state: StateDir
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
    const root = makeRoot({ ...input, key: newKey(), now, ttl: input.rootTtl, serial: newSerial() })
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
  const serial = newSerial()
  const issuing = makeIssuing(root, { ...input, key: newKey(), now, ttl: input.caTtl, serial })
  await save(input, 'issuing', issuing, root)
  return issuing
}

function isPastHalf({ certificate: { notBefore, notAfter } }: Authority, now: Temporal.Instant) {
  const [from, to] = [notBefore.epochMilliseconds, notAfter.epochMilliseconds]
  return now.epochMilliseconds >= (from + to) / 2
}

type Name = 'root' | 'issuing'

/** One file for key and certificate, so that no crash can part them. */
function fileOf(name: Name): string {
  return `${name}.pem`
}

async function save(
  { state, record }: KeyStoreInput,
  name: Name,
  authority: Authority,
  issuer: Authority,
): Promise<void> {
  await record(authority, name, issuer)
  const keyDer = authority.key.export({ type: 'pkcs8', format: 'der' })
  const text =
    pemFromDer('CERTIFICATE', authority.certificate.der) + pemFromDer('PRIVATE KEY', keyDer)
  await state.write(fileOf(name), text)
}

async function load(
  { state, trustDomain }: KeyStoreInput,
  name: Name,
): Promise<Authority | undefined> {
  const text = await state.read(fileOf(name))
  if (text === undefined) return undefined
  const authority = parse(name, text)
  const [uri] = authority.certificate.uriSans
  if (uri !== `spiffe://${trustDomain}`) {
    throw unusable(name, `it belongs to ${uri}, expected spiffe://${trustDomain}`)
  }
  const spki = createPublicKey(authority.key).export({ type: 'spki', format: 'der' })
  if (!sameBytes(spki, authority.certificate.publicKeyDer)) {
    throw unusable(name, 'its key and its certificate do not belong together')
  }
  return authority
}

function parse(name: Name, text: string): Authority {
  try {
    const [certificate = new Uint8Array()] = derFromPem('CERTIFICATE', text)
    const [key = new Uint8Array()] = derFromPem('PRIVATE KEY', text)
    return authorityOf(
      certificate,
      createPrivateKey({ key: Buffer.from(key), format: 'der', type: 'pkcs8' }),
    )
  } catch (cause) {
    throw unusable(name, `it cannot be read: ${(cause as Error).message}`, cause)
  }
}

function newKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
}

function newSerial(): Uint8Array {
  return randomBytes(SERIAL_BYTES)
}

function unusable(name: Name, why: string, cause?: unknown): CaError {
  return new CaError('CA_STATE_UNUSABLE', `Cannot use the stored CA ${fileOf(name)}: ${why}`, {
    cause,
  })
}
