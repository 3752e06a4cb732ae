/** Proofs from what the database keeps of the log. */
import { CaError } from '../error.ts'
import type { ConsistencyProof, InclusionProof } from '../log/document.ts'
import type { SignedHead } from '../log/head.ts'
import { consistencyPath, inclusionPath } from '../log/proof.ts'
import type { Database } from './database.ts'
import { hashReader } from './log-store.ts'

/**
 * The proof, under `head`, for the certificate with this serial; `undefined` if the ledger has no such
 * row (any more).
 *
 * @throws {CaError} `CA_LOG_INVALID`
 */
export async function proveCertificate(
  queries: Database,
  head: SignedHead,
  serial: string,
): Promise<InclusionProof | undefined> {
  const row = await queries
    .selectFrom('certificates')
    .selectAll()
    .where('serial', '=', serial)
    .where('log_index', '<', head.size)
    .executeTakeFirst()
  if (!row) return undefined
  const { log_index: index, der: _, ...entry } = row
  const path = await inclusionPath(hashReader(queries), index, head.size)
  return { kind: 'inclusion', head, index, entry, path: path.map(toHex) }
}

/**
 * That the log of `head` has only grown since it had `first` entries.
 *
 * @throws {CaError} `CA_LOG_INVALID` if it never had so many
 */
export async function proveSince(
  queries: Database,
  head: SignedHead,
  first: number,
): Promise<ConsistencyProof> {
  if (!Number.isSafeInteger(first) || first < 1 || first > head.size) {
    throw new CaError(
      'CA_LOG_INVALID',
      `Cannot prove growth since ${first} entries: the log has ${head.size}, expected 1 to that`,
    )
  }
  const path = await consistencyPath(hashReader(queries), first, head.size)
  return { kind: 'consistency', first, head, path: path.map(toHex) }
}

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
