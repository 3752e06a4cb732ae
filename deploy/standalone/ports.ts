import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * Ports for apps come from below the range that the kernel takes ports from by itself (32768 up, by
 * default): one in that range could be taken by any connection between now and the app's start.
 */
const FIRST = 20_000
const LAST = 32_000

/** Attempts before giving up; the range is never this full. */
const MAX_ATTEMPTS = 200

/**
 * Ports of 127.0.0.1 that are free now, all different.
 *
 * @param random - Numbers in [0, 1).
 * @throws {RangeError} if there are none
 */
export async function freePorts(count: number, random: () => number): Promise<readonly number[]> {
  const found = new Set<number>()
  for (let attempt = 0; found.size < count; attempt += 1) {
    if (attempt === MAX_ATTEMPTS + count) {
      throw new RangeError(`Cannot find a free port: ${attempt} of ${FIRST} to ${LAST} are taken`)
    }
    const port = FIRST + Math.floor(random() * (LAST - FIRST))
    if (!found.has(port) && (await isFree(port))) found.add(port)
  }
  return [...found]
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  try {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    return true
  } catch {
    return false // Taken: another one will do.
  } finally {
    server.close()
  }
}
