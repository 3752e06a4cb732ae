import { DeployError } from '../error.ts'
import type { Io } from './command.ts'
import { readText } from './read-text.ts'

/**
 * The first line of a file, which is where passwords come from: never from the command line.
 *
 * @throws {DeployError} `DEPLOY_USAGE` if it is empty, or cannot be read
 */
export async function readPassword(io: Io, file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined
  const [password = ''] = (await readText(io, file)).split(/\r?\n/)
  if (password !== '') return password
  throw new DeployError(
    'DEPLOY_USAGE',
    `Cannot take a password: the first line of ${file} is empty`,
  )
}
