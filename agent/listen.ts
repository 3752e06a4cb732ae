import { once } from 'node:events'
import { lstat, unlink } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { AgentError } from './error.ts'

/** A Unix socket that is accepting; disposing of it stops that and removes it. */
export interface Listening extends AsyncDisposable {
  readonly path: string
}

/** Connections at once, of all callers together. */
const MAX_CONNECTIONS = 4096

/**
 * Serves on a Unix socket, replacing one that a crashed predecessor left.
 *
 * Anyone may connect (mode 0666): workloads run under uids of their own, and who they are is asked
 * of the kernel. Who may *reach* the socket is the directory's mode.
 *
 * @throws {AgentError} `AGENT_SOCKET_UNUSABLE` if another process serves on it, something that is not
 *   a socket is there, or the directory cannot be written
 */
export async function listenOnSocket(
  path: string,
  onConnection: (socket: Socket) => void,
): Promise<Listening> {
  await removeStale(path)
  const server = createServer(onConnection)
  server.maxConnections = MAX_CONNECTIONS
  // A thousand workloads may start in one moment; who finds the queue full is sent away (EAGAIN).
  server.listen({ path, backlog: MAX_CONNECTIONS, readableAll: true, writableAll: true })
  await once(server, 'listening').catch((cause: Error) => {
    throw unusable(path, cause.message, cause)
  })
  return {
    path,
    async [Symbol.asyncDispose]() {
      server.close() // removes the socket
      await once(server, 'close')
    },
  }
}

async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined
    throw unusable(path, cause.message, cause)
  })
  if (!found) return
  if (!found.isSocket()) throw unusable(path, 'something that is not a socket is there')
  if (await isServed(path)) throw unusable(path, 'another process serves on it')
  await unlink(path).catch((cause: Error) => {
    throw unusable(path, cause.message, cause)
  })
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path)
    const answer = (served: boolean): void => {
      probe.destroy()
      resolve(served)
    }
    probe.once('connect', () => answer(true))
    probe.once('error', () => answer(false))
  })
}

function unusable(path: string, why: string, cause?: unknown): AgentError {
  return new AgentError('AGENT_SOCKET_UNUSABLE', `Cannot listen on "${path}": ${why}`, { cause })
}
