/** All that a CA must not lose, in one encrypted file. */
import { randomUUID } from 'node:crypto'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'

import { CaError } from '../error.ts'
import { type CopiedFile, LEDGER_FILE, type OpenDatabase } from '../issue/database.ts'
import { SEEN_HEAD_FILE } from '../issue/log-seen.ts'
import { pack, type Packed } from './container.ts'

/** What a backup is made of. */
export interface BackupInput {
  /** Absolute: the CA's state directory, or where else the copy of the ledger may be meanwhile. */
  readonly stateDir: string
  readonly database: Pick<OpenDatabase, 'copyTo' | 'isShared'>
  /** Absolute path of the new file. */
  readonly to: string
  readonly passphrase: string
}

/** Tries until no key comes or goes while the ledger is copied. */
const MAX_TRIES = 5

/**
 * Writes a backup: keys in files, and the ledger as it is at one instant.
 *
 * @throws {CaError} `CA_BACKUP_INVALID` if the file is there already, or the keys never hold still
 */
export async function writeBackup(input: BackupInput): Promise<void> {
  const { stateDir, to, passphrase } = input
  const copy = join(stateDir, `.backup.${randomUUID()}`)
  try {
    const keys = await copyWithKeys(input, copy)
    await pack(to, [...keys, { name: LEDGER_FILE, path: copy }], passphrase)
  } finally {
    await rm(copy, { force: true })
  }
}

/** Keys that a database has are of the instant of the copy; for those in files it has to hold still. */
async function copyWithKeys(
  { stateDir, database, to }: BackupInput,
  copy: string,
): Promise<readonly Packed[]> {
  if (database.isShared) return (await database.copyTo(copy)) ?? []
  for (let tries = 0; tries <= MAX_TRIES; tries += 1) {
    const before = await stateFiles(stateDir)
    await database.copyTo(copy)
    const after = await stateFiles(stateDir)
    if (JSON.stringify(before) === JSON.stringify(after)) {
      return after.map(({ name }) => ({ name, path: join(stateDir, name) }))
    }
    await rm(copy, { force: true })
  }
  throw restless(to)
}

function restless(to: string): CaError {
  return new CaError(
    'CA_BACKUP_INVALID',
    `Cannot write the backup ${to}: the CA's keys change all the time; try again`,
  )
}

/** Files beside the ledger, with their content: what was seen last is for whoever goes on, not here. */
export async function stateFiles(stateDir: string): Promise<readonly CopiedFile[]> {
  const entries = await readdir(stateDir, { withFileTypes: true, recursive: true })
  const names = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(stateDir.length + 1))
    .filter((name) => !name.startsWith(LEDGER_FILE) && !/(^|\/)\./.test(name))
    .filter((name) => name !== SEEN_HEAD_FILE)
    .toSorted()
  return Promise.all(
    names.map(async (name) => ({ name, text: await readFile(join(stateDir, name), 'utf8') })),
  )
}
