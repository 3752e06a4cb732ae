import { read } from 'node:fs'
import { open } from 'node:fs/promises'
import { resolve } from 'node:path'
import { promisify } from 'node:util'
import { unreadable } from './read-text.ts'

const readDescriptor = promisify(read)

const STDIN = 0

/**
 * The bytes of a file, or of standard input for `-`, at most `limit` and one: whoever gets more
 * than `limit` knows that there was more. A device that never ends therefore does.
 *
 * Bytes and not text: DER on a pipe must arrive as it is. Standard input is read by its descriptor,
 * because `/dev/stdin` cannot be opened where it is a socket.
 *
 * @throws {Error} as Node does, with `code`
 */
export async function readBytes(path: string, cwd: string, limit: number): Promise<Uint8Array> {
  if (path === '-') return readUpTo(STDIN, limit + 1)
  await using file = await open(resolve(cwd, path))
  return await readUpTo(file.fd, limit + 1) // before the file is closed
}

/** {@link readBytes} of a file that a user named. @throws {DeployError} `DEPLOY_USAGE` */
export async function readNamed(path: string, cwd: string, limit: number): Promise<Uint8Array> {
  try {
    return await readBytes(path, cwd, limit)
  } catch (cause) {
    throw unreadable(path, cause)
  }
}

async function readUpTo(descriptor: number, limit: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(limit)
  let length = 0
  while (length < limit) {
    const { bytesRead } = await readDescriptor(descriptor, bytes, length, limit - length, null)
    if (bytesRead === 0) break
    length += bytesRead
  }
  return bytes.subarray(0, length)
}
