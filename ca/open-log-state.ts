/** The log of a CA that does not run, as its state directory has it. Nothing is changed there. */
import { access } from 'node:fs/promises'
import { join } from 'node:path'

import { CaError } from './error.ts'
import { auditLedger } from './issue/audit.ts'
import { LEDGER_FILE, readDatabase } from './issue/database.ts'
import { LOG_KEY_FILE, readLogPublicKey } from './issue/log-key.ts'
import { proveCertificate, proveSince } from './issue/log-prover.ts'
import { readSignedHead } from './issue/log-store.ts'
import { openStateDir } from './keys/state-dir.ts'
import type { SignedHead } from './log/head.ts'
import type { CaLogReader } from './ca-log.ts'

/**
 * Opens the log in a state directory, to look at it.
 *
 * @param stateDir - Absolute.
 * @throws {CaError} `CA_STATE_UNUSABLE` if no CA with a log has run there, or one runs now, or it is of
 *   another version
 */
export async function openLogState(stateDir: string): Promise<CaLogReader & Disposable> {
  const nothing = (cause?: unknown) =>
    new CaError(
      'CA_STATE_UNUSABLE',
      `Cannot read the log in ${stateDir}: there is none, expected the state of a CA that has run`,
      { cause },
    )
  await access(join(stateDir, LOG_KEY_FILE)).catch((cause: unknown) => {
    throw nothing(cause)
  })
  const state = await openStateDir(stateDir)
  const text = await state.read(LOG_KEY_FILE)
  if (text === undefined) throw nothing()
  const publicKey = readLogPublicKey(text)
  const { queries, [Symbol.dispose]: close } = readDatabase(join(stateDir, LEDGER_FILE))
  const head = async (): Promise<SignedHead> => {
    const newest = await readSignedHead(queries)
    if (newest) return newest
    throw new CaError('CA_LOG_INVALID', 'Cannot read the head of the log: there is none')
  }
  return {
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    head,
    prove: async (serial) => proveCertificate(queries, await head(), serial),
    proveSince: async (size) => proveSince(queries, await head(), size),
    audit: () => auditLedger({ queries, publicKey }),
    [Symbol.dispose]: close,
  }
}
