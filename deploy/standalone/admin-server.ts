/**
 * `admin.sock`: how `status` and `cert inspect --workload` ask a running mesh, and how its owner
 * becomes the administrator of its CA. HTTP on a Unix socket; a caller is the owner, as the kernel
 * says by SO_PEERCRED, or is hung up on.
 */
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { createServer, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { join } from 'node:path'

import { readPeerCredentials } from '#agent/index.ts'
import type { Log } from '#core/log.ts'

/** Answers by path; what they return is sent as JSON, `undefined` as 404. */
export type AdminAnswers = Readonly<Record<string, (query: URLSearchParams) => unknown>>

/** Listens in `folder`. Disposing the result stops listening and removes the socket. */
export async function listenAdmin(
  folder: string,
  answers: AdminAnswers,
  { uid, log }: { readonly uid: number; readonly log: Log },
): Promise<AsyncDisposable> {
  const path = join(folder, 'admin.sock')
  await rm(path, { force: true }) // Of a mesh that was killed: the lock says that it is gone.
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://admin')
    void reply(answers[pathname], searchParams, response)
  })
  server.prependListener('connection', (socket: Socket) => {
    if (isOwner(socket, uid, log)) return
    socket.destroy()
  })
  server.listen(path)
  await once(server, 'listening')
  return {
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      await rm(path, { force: true })
    },
  }
}

function isOwner(socket: Socket, uid: number, log: Log): boolean {
  try {
    const peer = readPeerCredentials(socket)
    if (peer.uid === uid) return true
    log('warn', 'admin-refused', { uid: peer.uid })
  } catch (cause) {
    log('error', 'admin-peer-unreadable', { cause: String(cause) })
  }
  return false
}

async function reply(
  answer: AdminAnswers[string] | undefined,
  query: URLSearchParams,
  response: ServerResponse,
): Promise<void> {
  try {
    const body = await answer?.(query)
    response.writeHead(body === undefined ? 404 : 200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(body === undefined ? { error: 'not found' } : body))
  } catch (cause) {
    response.writeHead(500, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ error: cause instanceof Error ? cause.message : String(cause) }))
  }
}
