/** The log as those who are not the CA see it. */
import { writeBackup } from './backup/backup.ts'
import { type AuditReport, auditLedger } from './issue/audit.ts'
import type { OpenDatabase } from './issue/database.ts'
import { type PruneDeps, pruneLedger } from './issue/prune.ts'
import type { TransparencyLog } from './issue/transparency.ts'

/** The log of certificates and administrative calls, to read; see ca/README.md, *The log*. */
export interface CaLogReader extends Pick<TransparencyLog, 'head' | 'prove' | 'proveSince'> {
  /** SubjectPublicKeyInfo, PEM: what heads are checked by. */
  readonly publicKeyPem: string
  /** Reads the whole ledger again and holds it against the last head. */
  readonly audit: () => Promise<AuditReport>
}

/** The log of a CA that runs. */
export interface CaLog extends CaLogReader {
  /**
   * Lets go of rows of leaves that ended longer ago than `retention`; their hashes stay.
   *
   * @param by - Who, for the log.
   * @returns how many
   */
  readonly prune: (by: string, retention: Temporal.Duration) => Promise<number>
  /**
   * Writes keys and ledger to a new encrypted file.
   *
   * @param by - Who, for the log: the backup has that entry.
   * @param to - Absolute path.
   * @throws {CaError} `CA_BACKUP_INVALID`
   */
  readonly backup: (by: string, to: string, passphrase: string) => Promise<void>
}

export interface CaLogDeps extends PruneDeps {
  readonly transparency: TransparencyLog
  readonly database: Pick<OpenDatabase, 'copyTo' | 'isShared'>
  /** Absolute. */
  readonly stateDir: string
}

/** The log of an open ledger. */
export function caLogOf(deps: CaLogDeps): CaLog {
  const { queries, now } = deps
  const { publicKey, head, prove, proveSince } = deps.transparency
  return {
    head,
    prove,
    proveSince,
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    audit: () => auditLedger({ queries, publicKey }),
    prune: (by, retention) => pruneLedger(deps, by, now().subtract(retention)),
    async backup(by, to, passphrase) {
      const detail = JSON.stringify({ to })
      const at = now().epochMilliseconds
      await deps.ledger.record({
        calls: [{ at, caller: by, action: 'backup', detail, outcome: 'done' }],
      })
      await writeBackup({ ...deps, to, passphrase })
    },
  }
}
