/** A denial that happened, by the id that its caller was told in `x-redoubt-decision`. */
import { parseSpiffeId } from '#ca/spiffe/index.ts'
import type { CheckQuery } from '#policy/index.ts'
import { DeployError } from '../error.ts'
import { stateDirOf } from '../standalone/state-dir.ts'
import { type Input, type Io, textOption } from './command.ts'
import { liveLogs } from './observed-log.ts'
import { readText } from './read-text.ts'
import { readRunningMesh } from './running-mesh.ts'

/** As the sidecar or its access log tells it. */
export type Denial = Readonly<Record<string, unknown>>

const ID = /^[0-9a-f]{32}$/

/**
 * Looks in the access log that `--log` names. Else it asks the sidecars of the running mesh, each of
 * which holds its last 10,000 denials, and then reads their access logs, which outlive them.
 *
 * @throws {DeployError} `DEPLOY_USAGE`, `DEPLOY_MESH_NOT_FOUND` when there are neither a mesh nor logs
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
  if (log !== undefined) {
    return searchLog(await readText(io, log), id)
  }
  const held = await askSidecars(io, input, id, signal)
  return held.denial ?? searchLiveLogs(io, input, id, held.isRunning)
}

function searchLog(text: string, id: string): Denial | undefined {
  const line = text.split('\n').find((one) => one.includes(`"decision_id":"${id}"`))
  return line === undefined ? undefined : (JSON.parse(line.slice(line.indexOf('{'))) as Denial)
}

async function searchLiveLogs(
  io: Io,
  input: Input,
  id: string,
  isRunning: boolean,
): Promise<Denial | undefined> {
  const files = await liveLogs(io, input).catch((cause: unknown) => {
    if (isRunning) return []
    throw cause
  })
  for (const file of files) {
    const found = searchLog(await io.readFile(file), id)
    if (found !== undefined) return found
  }
  return undefined
}

async function askSidecars(
  io: Io,
  input: Input,
  id: string,
  signal: AbortSignal,
): Promise<{ readonly isRunning: boolean; readonly denial?: Denial }> {
  const mesh = await readRunningMesh(stateDirOf(textOption(input, 'state'), io.env, io.cwd))
  for (const { namespace, name, admin } of mesh?.workloads ?? []) {
    if (admin === undefined) continue
    const denial = await askSidecar(admin, id, signal)
    if (denial !== undefined) {
      return { isRunning: true, denial: { workload: `${namespace}/${name}`, ...denial } }
    }
  }
  return { isRunning: mesh !== undefined }
}

async function askSidecar(
  admin: string,
  id: string,
  signal: AbortSignal,
): Promise<Denial | undefined> {
  const url = `http://${admin}/decisions?id=${id}`
  const response = await fetch(url, {
    signal: AbortSignal.any([signal, AbortSignal.timeout(5000)]),
  })
    // A sidecar that is away cannot say; the others may.
    .catch(() => undefined)
  return response?.status === 200 ? ((await response.json()) as Denial) : undefined
}

/** What was asked, as far as the denial tells: neither values of headers nor claims. `undefined`: too little. */
export function queryOfDenial(denial: Denial): CheckQuery | undefined {
  return queryOfHeld(denial) ?? queryOfLine(denial)
}

type Fields = Readonly<Record<string, unknown>>

function queryOfHeld({ workload, connection, request }: Denial): CheckQuery | undefined {
  if (typeof connection !== 'object' || connection === null) return undefined
  const { peer, sourceIp, destinationIp, destinationPort, sni } = connection as Fields
  const { method, path, host, remoteIp } = (request ?? {}) as Fields
  const to = targetOf(workload, destinationPort)
  return (
    to && {
      to,
      from: typeof peer === 'string' ? parseSpiffeId(peer) : undefined,
      protocol: request === null || request === undefined ? 'tcp' : 'http1',
      ...texts({ method, path, host, sourceIp, destinationIp, remoteIp, sni }),
    }
  )
}

function queryOfLine(line: Denial): CheckQuery | undefined {
  const [, port] = /^inbound\|(\d{1,5})\|/.exec(String(line['upstream_cluster'])) ?? []
  const to = targetOf(line['destination_workload'], Number(port))
  const from = line['source_principal']
  const { method, path, authority: host, requested_server_name: sni } = line
  const isPeer = typeof from === 'string' && from.startsWith('spiffe://')
  return (
    to && {
      to,
      from: isPeer ? parseSpiffeId(from) : undefined,
      protocol: method === null ? 'tcp' : 'http1',
      ...texts({ method, path, host, sni }),
    }
  )
}

function targetOf(workload: unknown, port: unknown): CheckQuery['to'] | undefined {
  const [namespace = '', name = ''] = typeof workload === 'string' ? workload.split('/') : []
  if (namespace === '' || name === '' || typeof port !== 'number' || !(port > 0)) return undefined
  return { namespace, name, port }
}

function texts(fields: Fields): Partial<CheckQuery> {
  const known = Object.entries(fields).filter(([, value]) => typeof value === 'string')
  return Object.fromEntries(known) as Partial<CheckQuery>
}
