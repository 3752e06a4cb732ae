/** Certificates of a key that was tainted and is not revoked yet: who may go on with one, and how far. */
import { CaError } from '../error.ts'
import type { Database } from '../issue/database.ts'
import type { AuthorityEntry } from './book.ts'
import type { Authorities } from './open-authorities.ts'

export interface TaintedDeps {
  readonly authorities: { readonly book: Pick<Authorities['book'], 'current'> }
  readonly queries: Database
}

/** A certificate that somebody shows. */
export interface ShownCertificate {
  /** Lower-case hex. */
  readonly serial: string
  /** Of the leaf and of each CA above it. */
  readonly keyIds: readonly string[]
  /** DER; asked only where a key is tainted. */
  readonly leafDer: () => Uint8Array | undefined
}

/** An authority whose signatures prove nothing any more: tainted, or revoked by now. */
export type LeftKey = Pick<AuthorityEntry, 'keyId' | 'state'>

/** The one of `keyIds` that the CA has left in that way. */
export function leftKeyOf(
  { authorities }: Pick<TaintedDeps, 'authorities'>,
  keyIds: readonly string[],
): LeftKey | undefined {
  return authorities.book.current.authorities.find(
    ({ state, keyId }) => (state === 'tainted' || state === 'revoked') && keyIds.includes(keyId),
  )
}

/**
 * Whoever was given a certificate by this CA may renew it until the key that signed it is revoked, or
 * `taint` would be an outage. Whoever has that key could have signed one for itself: of such a one
 * the ledger knows nothing, and it gets nowhere.
 *
 * @throws {CaError} `CA_CERTIFICATE_TAINTED`
 */
export async function assertIssued(deps: TaintedDeps, shown: ShownCertificate): Promise<void> {
  const left = leftKeyOf(deps, shown.keyIds)
  if (!left) return
  const row = await deps.queries
    .selectFrom('certificates')
    .select('der')
    .where('serial', '=', shown.serial)
    .executeTakeFirst()
  const leaf = shown.leafDer()
  if (row && leaf && Buffer.compare(row.der, leaf) === 0) return
  throw new CaError(
    'CA_CERTIFICATE_TAINTED',
    `Cannot answer the caller: the key ${left.keyId} that signed its certificate is ${left.state}, and the ledger has no such certificate; attest again with other evidence, such as a join token`,
  )
}
