/**
 * The deny-list as certificate revocation lists (RFC 5280 §5), for those who follow no stream of ours:
 * one of each authority that can still sign, of the certificates under it that have not ended.
 */
import type { Book } from '../authorities/book.ts'
import type { Authorities } from '../authorities/open-authorities.ts'
import type { Database } from '../issue/database.ts'
import { authorityKeyIdentifier, earlier, extension, toSecond } from '../issue/template.ts'
import { type Authority, skiOf } from '../keys/authority.ts'
import { signedDer } from '../x509/algorithm.ts'
import { contextTag, derOf, sequence, unsignedInteger } from '../x509/der.ts'
import { type DenyEntry, type DenyList, denialsInForce, OID } from '../x509/index.ts'
import { timeDer } from '../x509/time.ts'

export interface CrlDeps {
  readonly queries: Database
  readonly authorities: Authorities
  readonly denials: { readonly list: { readonly current: DenyList } }
  readonly now: () => Temporal.Instant
}

interface Revoked {
  /** Lower-case hex. */
  readonly serial: string
  readonly issuerSerial: string
  readonly at: Temporal.Instant
}

/** How long a list is good for; who takes it fetches the next one well before. */
const CRL_LIFE = Temporal.Duration.from({ hours: 24 })

/** DER of each list. */
export async function exportCrls(deps: CrlDeps): Promise<readonly Uint8Array[]> {
  const { authorities, now } = deps
  const book = authorities.book.current
  const at = now()
  const revoked = await revokedCertificates(deps, book, at)
  const signing = book.authorities.filter(
    ({ state, notAfter }) =>
      state !== 'revoked' && state !== 'prepared' && notAfter > at.epochMilliseconds,
  )
  return Promise.all(
    signing.map(async (entry) => {
      const under = revoked.filter(({ issuerSerial }) => issuerSerial === entry.serial)
      return signCrl(await authorities.open(entry), under, at)
    }),
  )
}

async function revokedCertificates(
  { queries, denials }: CrlDeps,
  { authorities }: Book,
  now: Temporal.Instant,
): Promise<readonly Revoked[]> {
  const since = await revocationTimes(queries)
  const found: Revoked[] = []
  for (const entry of denialsInForce(denials.list.current, now)) {
    const at = since.get(entry.value) ?? now
    for (const { serial, issuer_serial } of await certificatesOf(queries, entry, now)) {
      found.push({ serial, issuerSerial: issuer_serial, at })
    }
    const authority = authorities.find(({ keyId }) => keyId === entry.value)
    const issuer = authorities.find(({ keyId }) => keyId === authority?.issuerKeyId)
    if (authority && issuer) {
      found.push({ serial: authority.serial, issuerSerial: issuer.serial, at })
    }
  }
  return uniqueBySerial(found)
}

async function certificatesOf(
  queries: Database,
  { kind, value }: DenyEntry,
  now: Temporal.Instant,
): Promise<readonly { readonly serial: string; readonly issuer_serial: string }[]> {
  if (kind === 'key-id') return []
  return queries
    .selectFrom('certificates')
    .select(['serial', 'issuer_serial'])
    .where(kind === 'serial' ? 'serial' : 'subject', '=', value)
    .where('not_after', '>', now.epochMilliseconds)
    .execute()
}

/** When each thing was revoked, as the log has it; the newest time of each. */
async function revocationTimes(queries: Database): Promise<ReadonlyMap<string, Temporal.Instant>> {
  const calls = await queries
    .selectFrom('calls')
    .select(['at', 'detail'])
    .where('action', '=', 'revoke')
    .where('outcome', '=', 'done')
    .orderBy('log_index')
    .execute()
  return new Map(
    calls.map(({ at, detail }) => {
      const { subject, keyId } = JSON.parse(detail) as { subject?: string; keyId?: string }
      return [subject ?? keyId ?? '', Temporal.Instant.fromEpochMilliseconds(at)]
    }),
  )
}

function uniqueBySerial(all: readonly Revoked[]): readonly Revoked[] {
  return [...new Map(all.map((each) => [`${each.issuerSerial} ${each.serial}`, each])).values()]
}

/** Version 2; entries without extensions, for nothing is known of reasons. */
async function signCrl(
  { certificate, key }: Authority,
  revoked: readonly Revoked[],
  now: Temporal.Instant,
): Promise<Uint8Array> {
  const { signer } = key
  const entries = revoked.map(({ serial, at }) =>
    sequence(unsignedInteger(Buffer.from(serial, 'hex')), timeDer(toSecond(at))),
  )
  const tbs = sequence(
    unsignedInteger(Uint8Array.of(1)),
    signer.algorithmDer,
    certificate.subject,
    timeDer(toSecond(now)),
    timeDer(toSecond(earlier(now.add(CRL_LIFE), certificate.notAfter))),
    ...(entries.length > 0 ? [sequence(...entries)] : []), // never an empty one: RFC 5280 §5.1.2.6
    crlExtensions(
      authorityKeyIdentifier(skiOf(certificate)),
      extension(OID.crlNumber, unsignedInteger(numberOf(now))),
    ),
  )
  return signedDer(tbs, signer, await key.sign(tbs))
}

/** Explicitly tagged, by another number than those of a certificate. */
function crlExtensions(...extensions: readonly Uint8Array[]): Uint8Array {
  return derOf(contextTag(0), sequence(...extensions))
}

/** Grows from one list to the next, whoever of several CAs makes it: the time. */
function numberOf({ epochMilliseconds }: Temporal.Instant): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(epochMilliseconds))
  return bytes.subarray(bytes.findIndex((byte) => byte !== 0))
}
