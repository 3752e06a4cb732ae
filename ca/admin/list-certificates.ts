import { CaError } from '../error.ts'
import type { CertificateRow, Database, Logged } from '../issue/database.ts'

/** Which rows of the ledger. */
export interface CertificateQuery {
  /** Lower-case hex; empty for all, as are the next two. */
  readonly serial: string
  /** A SPIFFE ID, or the beginning of some if it ends in `*`. */
  readonly subject: string
  readonly issuerSerial: string
  /** Those that have ended, too. */
  readonly ended: boolean
  /** 1 to {@link MAX_ROWS}; 0: {@link DEFAULT_ROWS}. */
  readonly limit: number
  /** Only rows before this place in the log; 0: from the newest on. */
  readonly before: number
}

/** A row without the certificate itself. */
export type ListedCertificate = Omit<CertificateRow, 'der'> & Logged

const DEFAULT_ROWS = 100
const MAX_ROWS = 1000

/** Rows of a full page. */
export function pageSize(limit: number): number {
  return limit === 0 ? DEFAULT_ROWS : limit
}

/** Rows of the ledger, newest first. @throws {CaError} `CA_CONFIG_INVALID` for a limit out of range */
export async function listCertificates(
  queries: Database,
  { serial, subject, issuerSerial, ended, limit, before }: CertificateQuery,
  now: Temporal.Instant,
): Promise<readonly ListedCertificate[]> {
  if (!Number.isInteger(limit) || limit < 0 || limit > MAX_ROWS) {
    throw new CaError(
      'CA_CONFIG_INVALID',
      `Cannot list certificates: the limit is ${limit}, expected 1 to ${MAX_ROWS}`,
    )
  }
  let query = queries
    .selectFrom('certificates')
    .select(COLUMNS)
    .orderBy('log_index', 'desc')
    .limit(pageSize(limit))
  if (serial !== '') query = query.where('serial', '=', serial)
  if (issuerSerial !== '') query = query.where('issuer_serial', '=', issuerSerial)
  if (subject.endsWith('*')) {
    const prefix = subject.slice(0, -1)
    query = query.where('subject', '>=', prefix).where('subject', '<', `${prefix}\u{10ffff}`)
  } else if (subject !== '') query = query.where('subject', '=', subject)
  if (!ended) query = query.where('not_after', '>', now.epochMilliseconds)
  if (before > 0) query = query.where('log_index', '<', before)
  return query.execute()
}

/** All but the certificate itself. */
export const COLUMNS = [
  'log_index',
  'serial',
  'kind',
  'subject',
  'issuer_serial',
  'issued_at',
  'not_before',
  'not_after',
  'requested_by',
  'life',
] as const

/** Leaves that have not ended, by the serial of their issuer. */
export async function countLiveLeaves(
  queries: Database,
  issuerSerials: readonly string[],
  now: Temporal.Instant,
): Promise<ReadonlyMap<string, number>> {
  const rows = await queries
    .selectFrom('certificates')
    .select(({ fn }) => ['issuer_serial', fn.countAll<number | string | bigint>().as('count')])
    .where('issuer_serial', 'in', issuerSerials)
    .where('not_after', '>', now.epochMilliseconds)
    .where('kind', '=', 'leaf')
    .groupBy('issuer_serial')
    .execute()
  return new Map(rows.map(({ issuer_serial, count }) => [issuer_serial, Number(count)]))
}
