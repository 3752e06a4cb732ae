/** Authorities of versions of this program that had no book: `root.pem` and `issuing.pem`. */
import { createPrivateKey } from 'node:crypto'

import { CaError } from '../error.ts'
import { BACKDATE_SECONDS } from '../issue/template.ts'
import type { KeyStore } from '../keys/signing-key.ts'
import type { StateDir } from '../keys/state-dir.ts'
import type { TrustDomain } from '../spiffe/index.ts'
import { sameBytes } from '../x509/certificate.ts'
import { type Certificate, derFromPem, readCertificate } from '../x509/index.ts'
import { type AuthorityEntry, type Book, firstBook } from './book.ts'
import { entryOf } from './make.ts'

export interface OlderState {
  readonly state: StateDir
  readonly store: KeyStore
  readonly trustDomain: TrustDomain
}

type Name = 'root' | 'issuing'

/**
 * The first book of what is there, with its keys in the store; `undefined` if there is nothing.
 *
 * @throws {CaError} `CA_STATE_UNUSABLE` if the files contradict each other or the trust domain
 */
export async function readOlderState(older: OlderState): Promise<Book | undefined> {
  const root = await load(older, 'root')
  const issuing = await load(older, 'issuing')
  if (!root && !issuing) return undefined
  if (!root || !issuing) {
    throw unusable(root ? 'issuing' : 'root', 'it is not there, and the other of the two is')
  }
  if (!sameBytes(issuing.issuer, root.subject)) {
    throw unusable('issuing', 'the stored root did not issue it')
  }
  const first = entry(root, 'root')
  return firstBook({
    root: first,
    issuing: { ...entry(issuing, 'issuing'), issuerKeyId: first.keyId },
  })
}

/** Removes its files: what they said is in the book, and a key in the store. */
export async function forgetOlderState(state: StateDir): Promise<void> {
  for (const name of ['root', 'issuing'] as const) await state.remove(fileOf(name))
}

function entry(certificate: Certificate, kind: Name): AuthorityEntry {
  return entryOf({ certificate }, kind, certificate.notBefore.add({ seconds: BACKDATE_SECONDS }))
}

async function load(older: OlderState, name: Name): Promise<Certificate | undefined> {
  const { state, store, trustDomain } = older
  const text = await state.read(fileOf(name))
  if (text === undefined) return undefined
  const certificate = parse(name, text)
  const [uri] = certificate.uriSans
  if (uri !== `spiffe://${trustDomain}`) {
    throw unusable(name, `it belongs to ${uri}, expected spiffe://${trustDomain}`)
  }
  if (text.includes('BEGIN PRIVATE KEY')) await takeKey(store, name, certificate, text)
  return certificate
}

/** Before there were key stores the key was beside the certificate. */
async function takeKey(
  store: KeyStore,
  name: Name,
  { publicKeyDer }: Certificate,
  text: string,
): Promise<void> {
  const [pkcs8 = new Uint8Array()] = derFromPem('PRIVATE KEY', text)
  const key = await store.take(
    createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' }),
  )
  if (sameBytes(key.publicKeyDer, publicKeyDer)) return
  throw unusable(name, 'its key and its certificate do not belong together')
}

function parse(name: Name, text: string): Certificate {
  try {
    const [certificate = new Uint8Array()] = derFromPem('CERTIFICATE', text)
    return readCertificate(certificate)
  } catch (cause) {
    throw unusable(name, `it cannot be read: ${(cause as Error).message}`, cause)
  }
}

function fileOf(name: Name): string {
  return `${name}.pem`
}

function unusable(name: Name, why: string, cause?: unknown): CaError {
  return new CaError('CA_STATE_UNUSABLE', `Cannot use the stored CA ${fileOf(name)}: ${why}`, {
    cause,
  })
}
