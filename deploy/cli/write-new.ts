import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'

import { DeployError } from '../error.ts'
import type { Io } from './command.ts'

/**
 * Writes a file: never over one that is there, and for nobody else to read, since there may be a key in it.
 *
 * @throws {DeployError} `DEPLOY_USAGE` if there is such a file, or its folder is missing
 */
export async function writeNew(
  io: Pick<Io, 'cwd'>,
  file: string,
  content: string | Uint8Array,
): Promise<void> {
  try {
    await writeFile(resolve(io.cwd, file), content, { flag: 'wx', mode: 0o600 })
  } catch (cause) {
    const why = FAULTS[(cause as NodeJS.ErrnoException).code ?? '']
    if (why === undefined) throw cause
    throw new DeployError('DEPLOY_USAGE', `Cannot write ${file}: ${why}`, { cause })
  }
}

const FAULTS: Readonly<Record<string, string>> = {
  EEXIST: 'it is there already, expected a new file',
  ENOENT: 'its folder is not there',
  ENOTDIR: 'a part of its path is a file',
  EACCES: 'this user may not write there',
}
