/** A denial that happened, by the id that its caller was told in `x-redoubt-decision`. */
import { resolve } from 'node:path'

import { DeployError } from '../error.ts'
import { stateDirOf } from '../standalone/state-dir.ts'
import { type Input, type Io, textOption } from './command.ts'
import { readRunningMesh } from './running-mesh.ts'

/** As the sidecar or its access log tells it. */
export type Denial = Readonly<Record<string, unknown>>

const ID = /^[0-9a-f]{32}$/

/**
 * Looks in the access log that `--log` names, else asks the sidecars of the running mesh, each of
 * which holds its last 10,000 denials.
 *
 * @throws {DeployError} `DEPLOY_USAGE`, `DEPLOY_MESH_NOT_FOUND`
 */
export async function findDenial(
  io: Io,
  input: Input,
  id: string,
  signal: AbortSignal,
): Promise<Denial | undefined> {
  if (!ID.test(id)) {
    throw new DeployError(
      'DEPLOY_USAGE',
      `Cannot find decision ${JSON.stringify(id)}: expected the 32 hex digits of x-redoubt-decision`,
    )
  }
  const log = textOption(input, 'log')
  return log === undefined
    ? askSidecars(io, input, id, signal)
    : searchLog(log === '-' ? await io.readStdin() : await io.readFile(resolve(io.cwd, log)), id)
}

function searchLog(text: string, id: string): Denial | undefined {
  const line = text.split('\n').find((one) => one.includes(`"decision_id":"${id}"`))
  return line === undefined ? undefined : (JSON.parse(line) as Denial)
}

async function askSidecars(
  io: Io,
  input: Input,
  id: string,
  signal: AbortSignal,
): Promise<Denial | undefined> {
  const stateDir = stateDirOf(textOption(input, 'state'), io.env, io.cwd)
  const mesh = await readRunningMesh(stateDir)
  if (mesh === undefined) {
    throw new DeployError('DEPLOY_MESH_NOT_FOUND', `Cannot find the mesh: none runs in ${stateDir}`)
  }
  for (const { namespace, name, admin } of mesh.workloads) {
    if (admin === undefined) continue
    const denial = await askSidecar(admin, id, signal)
    if (denial !== undefined) return { workload: `${namespace}/${name}`, ...denial }
  }
  return undefined
}

async function askSidecar(
  admin: string,
  id: string,
  signal: AbortSignal,
): Promise<Denial | undefined> {
  const url = `http://${admin}/decisions?id=${id}`
  const response = await fetch(url, {
    signal: AbortSignal.any([signal, AbortSignal.timeout(2000)]),
  })
    // A sidecar that is away cannot say; the others may.
    .catch(() => undefined)
  return response?.status === 200 ? ((await response.json()) as Denial) : undefined
}
