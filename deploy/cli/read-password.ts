import { resolve } from 'node:path'

import { DeployError } from '../error.ts'
import type { Io } from './command.ts'

/**
 * The first line of a file, which is where passwords come from: never from the command line.
 *
 * @throws {DeployError} `DEPLOY_USAGE` if it is empty
 */
export async function readPassword(io: Io, file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined
  const [password = ''] = (await io.readFile(resolve(io.cwd, file))).split(/\r?\n/)
  if (password !== '') return password
  throw new DeployError(
    'DEPLOY_USAGE',
    `Cannot take a password: the first line of ${file} is empty`,
  )
}
