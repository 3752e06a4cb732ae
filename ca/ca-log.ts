/** The log as those who are not the CA see it. */
import { type AuditReport, auditLedger } from './issue/audit.ts'
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
}

export interface CaLogDeps extends PruneDeps {
  readonly transparency: TransparencyLog
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
  }
}
