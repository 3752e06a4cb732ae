import { resolve } from 'node:path'
import { DeployError } from '../error.ts'
import type { Io } from './command.ts'

/** Why a file cannot be read, by the system's word for it. */
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EISDIR: 'it is a directory',
  EACCES: 'permission is denied',
}

/** The text of the file that a user named, or of standard input for `-`. @throws {DeployError} `DEPLOY_USAGE` */
export async function readText(
  io: Pick<Io, 'cwd' | 'readFile' | 'readStdin'>,
  file: string,
): Promise<string> {
  if (file === '-') return io.readStdin()
  try {
    return await io.readFile(resolve(io.cwd, file))
  } catch (cause) {
    throw unreadable(file, cause)
  }
}

/** What to say of a file that a user named and that could not be read, by what Node says. */
export function unreadable(file: string, cause: unknown): DeployError {
  const { code = '', message } = cause as NodeJS.ErrnoException
  const why = REASONS[code] ?? message
  return new DeployError('DEPLOY_USAGE', `Cannot read ${file}: ${why}`, { cause })
}
