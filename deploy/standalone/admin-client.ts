import { request } from 'node:http'
import { join } from 'node:path'

import { DeployError } from '../error.ts'
import { lockOwner } from './lock.ts'
import { socketDirOf } from './state-dir.ts'

export interface AdminClientDeps {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly uid: number
}

/**
 * Asks the mesh that runs on a state directory. Paths: `/status`, `/mesh`,
 * `/certificate?workload=`, `/administrator?csr=` (PKCS#10, base64),
 * `/rotate-by-force?step=`, `/join-token?tokenSha256=&agentId=&scope=&expiresAt=`.
 *
 * @returns its JSON; `undefined` when it knows no such thing
 * @throws {DeployError} `DEPLOY_MESH_NOT_FOUND` when none runs there
 */
export async function askMesh(
  state: string,
  path: string,
  deps: AdminClientDeps,
  signal: AbortSignal,
): Promise<unknown> {
  const owner = await lockOwner(state)
  if (!owner) throw notFound(state, 'none runs there')
  const socketPath = join(socketDirOf(state, deps), 'admin.sock')
  const { status, body } = await get(socketPath, path, signal).catch((cause: unknown) => {
    signal.throwIfAborted()
    throw notFound(state, `it does not answer (${String((cause as NodeJS.ErrnoException).code)})`)
  })
  if (status === 404) return undefined
  const answer = JSON.parse(body) as { readonly error?: string }
  if (status === 200) return answer
  throw new DeployError('DEPLOY_CALL_REFUSED', `Cannot ask the mesh on ${state}: ${answer.error}`)
}

function notFound(state: string, why: string): DeployError {
  return new DeployError(
    'DEPLOY_MESH_NOT_FOUND',
    `Cannot ask the mesh on ${state}: ${why}; start one with redoubt up, or name its directory with --state DIR`,
  )
}

function get(
  socketPath: string,
  path: string,
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, path, signal, agent: false }, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (text: string) => {
        body += text
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
      response.on('error', reject)
    })
    sent.on('error', reject)
    sent.end()
  })
}
