/** Databases of SQLite that nobody but their owner reads. */
import { chmodSync, closeSync, openSync } from 'node:fs'

/** Nobody but the owner reads who has which certificate. */
const OWNER_ONLY = 0o600

/** Makes an empty file, which is an empty database, unless there is one. SQLite's own would be for all to read. */
export function makePrivate(path: string): void {
  try {
    closeSync(openSync(path, 'wx', OWNER_ONLY))
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
  }
}

/** For files that an older version made. SQLite gives new ones beside the database the mode of that. */
export function keepPrivate(path: string): void {
  for (const file of [path, `${path}-wal`, `${path}-shm`, `${path}-journal`]) {
    try {
      chmodSync(file, OWNER_ONLY)
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause
    }
  }
}
