import { readFile } from 'node:fs/promises'

import { DeployError } from '../error.ts'

/**
 * The first line of a file: a passphrase is never an argument, which everybody on the machine can read.
 *
 * @param path - Absolute.
 * @throws {DeployError} `DEPLOY_USAGE`
 */
export async function readPassphrase(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    const why = cause.code === 'ENOENT' ? 'there is no such file' : cause.code
    throw new DeployError('DEPLOY_USAGE', `Cannot read the passphrase in ${path}: ${why}`, {
      cause,
    })
  })
  const [passphrase = ''] = text.split(/\r?\n/)
  if (passphrase.length >= MIN_LENGTH) return passphrase
  throw new DeployError(
    'DEPLOY_USAGE',
    `Cannot use the passphrase in ${path}: its first line has ${passphrase.length} characters, expected at least ${MIN_LENGTH}`,
  )
}

/** Characters: who has the file may guess for ever. */
const MIN_LENGTH = 12
