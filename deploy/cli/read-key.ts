import { createPrivateKey, type KeyObject } from 'node:crypto'

import { DeployError } from '../error.ts'
import type { Io } from './command.ts'
import { readText } from './read-text.ts'

/** The private key in a file that a user named. @throws {DeployError} `DEPLOY_USAGE` */
export async function readKey(
  io: Pick<Io, 'cwd' | 'readFile' | 'readStdin'>,
  file: string,
): Promise<KeyObject> {
  const pem = await readText(io, file)
  try {
    return createPrivateKey(pem)
  } catch (cause) {
    const message = `Cannot read the key in ${file}: it is not an unencrypted PEM private key`
    throw new DeployError('DEPLOY_USAGE', message, { cause })
  }
}
