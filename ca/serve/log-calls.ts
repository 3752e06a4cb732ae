/** What administrators ask of the log, and of the ledger that it is of. */
import type { Administrator } from '../admin/administrator.ts'
import { CaError } from '../error.ts'
import type {
  PruneLedgerRequest,
  PruneLedgerResponse,
  ReadLogRequest,
  ReadLogResponse,
} from '../proto/gen/admin.ts'
import type { CaLog } from '../ca-log.ts'

export interface LogCallDeps {
  readonly caLog: CaLog
}

/** @throws {CaError} `CA_LOG_INVALID` */
export async function readLog(
  { caLog }: LogCallDeps,
  _by: Administrator,
  { wanted }: ReadLogRequest,
): Promise<ReadLogResponse> {
  const answer = async (): Promise<unknown> => {
    switch (wanted?.$case) {
      case 'head':
        return caLog.head()
      case 'publicKey':
        return caLog.publicKeyPem
      case 'serial':
        return caLog.prove(wanted.serial)
      case 'since':
        return caLog.proveSince(Number(wanted.since))
      case 'audit':
        return caLog.audit()
      default:
        throw new CaError('CA_LOG_INVALID', 'Cannot read the log: the request asks for nothing')
    }
  }
  return { json: JSON.stringify((await answer()) ?? null) }
}

/** @throws {CaError} `CA_LOG_INVALID` */
export async function prune(
  { caLog }: LogCallDeps,
  by: Administrator,
  { retentionSeconds }: PruneLedgerRequest,
): Promise<PruneLedgerResponse> {
  const retention = Temporal.Duration.from({ seconds: Number(retentionSeconds) })
  return { rows: BigInt(await caLog.prune(by.name, retention)) }
}
