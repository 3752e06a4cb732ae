/** The log of a CA that does not run, as its state directory or its database has it. Nothing is changed there. */
import { access } from 'node:fs/promises'
import { join } from 'node:path'

import { CaError } from './error.ts'
import { auditLedger } from './issue/audit.ts'
import { type Database, LEDGER_FILE, readDatabase } from './issue/database.ts'
import { LOG_KEY_FILE, readLogPublicKey } from './issue/log-key.ts'
import { proveCertificate, proveSince } from './issue/log-prover.ts'
import { readSignedHead } from './issue/log-store.ts'
import { openStateDir } from './keys/state-dir.ts'
import type { SignedHead } from './log/head.ts'
import type { SharedLedger } from './postgres/pool.ts'
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
  const { queries, [Symbol.dispose]: close } = readDatabase(join(stateDir, LEDGER_FILE))
  return { ...logReader(queries, text), [Symbol.dispose]: close }
}

/**
 * Opens the log in a database, to look at it, whether CAs run on it or not.
 *
 * @throws {CaError} `CA_STATE_UNUSABLE` if it cannot be read, no CA has run on it, or it is of another
 *   version; `CA_CONFIG_INVALID` if a secret is not where it is said to be
 */
export async function openSharedLog({
  ledger,
  env,
}: SharedLedger): Promise<CaLogReader & Disposable> {
  const { readPostgres } = await import('./postgres/read-postgres.ts')
  const { queries, files, [Symbol.asyncDispose]: close } = await readPostgres(ledger, env)
  const text = await files.read(LOG_KEY_FILE)
  if (text !== undefined)
    return { ...logReader(queries, text), [Symbol.dispose]: () => void close() }
  await close()
  throw new CaError('CA_STATE_UNUSABLE', 'Cannot read the log in the database: it has no key')
}

function logReader(queries: Database, keyText: string): CaLogReader {
  const publicKey = readLogPublicKey(keyText)
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
  }
}
