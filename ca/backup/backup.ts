/** All that a CA must not lose, in one encrypted file. */
import { randomUUID } from 'node:crypto'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'

import { CaError } from '../error.ts'
import { LEDGER_FILE, type OpenDatabase } from '../issue/database.ts'
import { SEEN_HEAD_FILE } from '../issue/log-seen.ts'
import { pack, type Packed } from './container.ts'

/** What a backup is made of. */
export interface BackupInput {
  /** Absolute: the CA's state directory. */
  readonly stateDir: string
  readonly database: Pick<OpenDatabase, 'copyTo'>
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
  const { stateDir, database, to, passphrase } = input
  const copy = join(stateDir, `.backup.${randomUUID()}`)
  try {
    for (let tries = 0; ; tries += 1) {
      const before = await keyFiles(stateDir)
      await database.copyTo(copy)
      const after = await keyFiles(stateDir)
      if (JSON.stringify(before) === JSON.stringify(after)) break
      if (tries === MAX_TRIES) throw restless(to)
      await rm(copy, { force: true })
    }
    const keys = (await keyFiles(stateDir)).map(({ name }) => fileAt(stateDir, name))
    await pack(to, [...keys, { name: LEDGER_FILE, path: copy }], passphrase)
  } finally {
    await rm(copy, { force: true })
  }
}

function restless(to: string): CaError {
  return new CaError(
    'CA_BACKUP_INVALID',
    `Cannot write the backup ${to}: the CA's keys change all the time; try again`,
  )
}

function fileAt(stateDir: string, name: string): Packed {
  return { name, path: join(stateDir, name) }
}

/** Files beside the ledger, with their content: what was seen last is for whoever goes on, not here. */
async function keyFiles(
  stateDir: string,
): Promise<readonly { readonly name: string; readonly text: string }[]> {
  const entries = await readdir(stateDir, { withFileTypes: true, recursive: true })
  const names = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(stateDir.length + 1))
    .filter((name) => !name.startsWith(LEDGER_FILE) && !/(^|\/)\./.test(name))
    .filter((name) => name !== SEEN_HEAD_FILE)
    .toSorted()
  return Promise.all(
    names.map(async (name) => ({ name, text: await readFile(join(stateDir, name), 'latin1') })),
  )
}
