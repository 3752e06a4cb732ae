import { randomUUID } from 'node:crypto'
import { chmod, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'

import { CaError } from '../error.ts'

/** Nobody but the owner reads a key (and the CA refuses to use one that others can). */
const OWNER_ONLY = 0o600

/** Small files that hold what the CA must not lose. */
export interface StateDir {
  readonly path: string
  /**
   * The text of a file, or `undefined` if there is none.
   *
   * @throws {CaError} `CA_STATE_UNUSABLE` if it cannot be read, or is open to others than the owner
   */
  readonly read: (name: string) => Promise<string | undefined>
  /** Replaces a file whole: after a crash it has the old text or the new. @throws {CaError} `CA_STATE_UNUSABLE` */
  readonly write: (name: string, text: string) => Promise<void>
  /** Deletes a file; of no effect if there is none. @throws {CaError} `CA_STATE_UNUSABLE` */
  readonly remove: (name: string) => Promise<void>
}

/**
 * Opens the directory at `path`, making it with mode 0700 if it is not there.
 *
 * @throws {CaError} `CA_STATE_UNUSABLE` if it cannot be made or written
 */
export async function openStateDir(path: string): Promise<StateDir> {
  return guarded(path, async () => {
    await mkdir(path, { recursive: true, mode: 0o700 })
    const { mode } = await stat(path)
    if (mode & 0o077) await chmod(path, 0o700)
    return {
      path,
      read: (name) => guarded(join(path, name), () => readPrivate(join(path, name))),
      write: (name, text) => guarded(join(path, name), () => replace(path, name, text)),
      remove: (name) => guarded(join(path, name), () => rm(join(path, name), { force: true })),
    }
  })
}

async function readPrivate(path: string): Promise<string | undefined> {
  try {
    const { mode } = await stat(path)
    if (mode & 0o077) {
      const octal = (mode & 0o777).toString(8).padStart(4, '0')
      throw unusable(path, `its mode is ${octal}, expected 0600: others may have read it`)
    }
    return await readFile(path, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw cause
  }
}

async function replace(dir: string, name: string, text: string): Promise<void> {
  const temporary = join(dir, `.${name}.${randomUUID()}`)
  const file = await open(temporary, 'wx', OWNER_ONLY)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, join(dir, name))
  const folder = await open(dir, 'r')
  try {
    await folder.sync() // The new name, too, is then on the disk.
  } finally {
    await folder.close()
  }
}

async function guarded<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (cause) {
    if (cause instanceof CaError) throw cause
    const { code, message } = cause as NodeJS.ErrnoException
    throw unusable(path, FILE_FAULTS[code ?? ''] ?? message, cause)
  }
}

const FILE_FAULTS: Readonly<Record<string, string>> = {
  ENOTDIR: 'a part of its path is a file, expected a directory',
  EEXIST: 'it is a file, expected a directory',
  EACCES: 'this user may not write there; choose another state directory',
  EPERM: 'this user may not write there; choose another state directory',
  EROFS: 'the file system is read-only; choose another state directory',
  ENOSPC: 'the disk is full',
}

function unusable(path: string, why: string, cause?: unknown): CaError {
  return new CaError('CA_STATE_UNUSABLE', `Cannot use the CA's state at ${path}: ${why}`, { cause })
}
