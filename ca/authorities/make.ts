/** New roots and issuing CAs: their keys are in the store before anybody hears of them. */
import { randomBytes } from 'node:crypto'

import { SERIAL_BYTES } from '../issue/template.ts'
import { type Authority, makeIssuing, makeRoot } from '../keys/authority.ts'
import type { KeyStore } from '../keys/signing-key.ts'
import type { TrustDomain } from '../spiffe/index.ts'
import { keyIdOf, readCertificate } from '../x509/index.ts'
import { type AuthorityEntry, type AuthorityKind, type Book, bundledRoots } from './book.ts'

/** What making authorities needs. */
export interface MakeDeps {
  readonly store: KeyStore
  readonly trustDomain: TrustDomain
  readonly rootTtl: Temporal.Duration
  readonly caTtl: Temporal.Duration
  readonly now: () => Temporal.Instant
}

/** An authority that was made for a step, with who signed it. */
export interface Made {
  readonly kind: AuthorityKind
  readonly authority: Authority
  readonly issuer: Authority
}

/** Makes authorities for one step, and remembers them: they are recorded with it, or forgotten. */
export interface Maker {
  readonly made: readonly Made[]
  readonly root: () => Promise<AuthorityEntry>
  /** An issuing CA under a root, which may have been made for this step. @throws {CaError} `CA_SIGNER_UNAVAILABLE` */
  readonly issuing: (root: AuthorityEntry) => Promise<AuthorityEntry>
  /** Takes the keys of everything that was made out of the store again. */
  readonly forget: () => Promise<void>
}

/** @param openRoot - Opens a root that was there before, with its key. */
export function createMaker(
  { store, trustDomain, rootTtl, caTtl, now }: MakeDeps,
  openRoot: (root: AuthorityEntry) => Promise<Authority>,
): Maker {
  const made: Made[] = []
  const input = async (ttl: Temporal.Duration) => ({
    trustDomain,
    key: await store.create(),
    now: now(),
    ttl,
    serial: randomBytes(SERIAL_BYTES),
  })
  return {
    made,
    async root() {
      const authority = await makeRoot(await input(rootTtl))
      made.push({ kind: 'root', authority, issuer: authority })
      return entryOf(authority, 'root', now())
    },
    async issuing(root) {
      const own = made.find(({ authority }) => authority.key.id === root.keyId)
      const issuer = own?.authority ?? (await openRoot(root))
      const authority = await makeIssuing(issuer, await input(caTtl))
      made.push({ kind: 'issuing', authority, issuer })
      return { ...entryOf(authority, 'issuing', now()), issuerKeyId: root.keyId }
    },
    async forget() {
      for (const { authority } of made) await store.remove(authority.key.id)
    },
  }
}

/** The entry of an authority: a root's, or one whose issuer is still to be named. */
export function entryOf(
  { certificate }: Pick<Authority, 'certificate'>,
  kind: AuthorityKind,
  issuedAt: Temporal.Instant,
): AuthorityEntry {
  const { serial, der, notAfter } = certificate
  const keyId = keyIdOf(certificate)
  return {
    kind,
    state: 'prepared',
    keyId,
    issuerKeyId: keyId,
    serial,
    certificate: Buffer.from(der).toString('base64'),
    issuedAt: issuedAt.epochMilliseconds,
    notAfter: notAfter.epochMilliseconds,
  }
}

/** DER of an entry's certificate. */
export function derOfEntry({ certificate }: AuthorityEntry): Uint8Array {
  return Buffer.from(certificate, 'base64')
}

/** DER of the roots in the bundle, the one that signs first. */
export function rootsOf(book: Book): readonly Uint8Array[] {
  return bundledRoots(book).map(derOfEntry)
}

/** An entry's certificate, read. */
export function certificateOf(entry: AuthorityEntry): Authority['certificate'] {
  return readCertificate(derOfEntry(entry))
}
