/** Where `redoubt cert inspect` takes certificates from. */
import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'

import { openSvid } from '#agent/client/index.ts'

import { type Anchors, type Contents, MAX_INPUT_BYTES, type Origin } from '#ca/inspect/index.ts'
import { trustDomainOf } from '#ca/spiffe/index.ts'
import type { Log } from '#core/log.ts'
import { DeployError } from '../error.ts'
import { type Input, type Io, textOption } from './command.ts'
import { parseDuration } from './duration.ts'
import { fromEndpoint } from './find-endpoint.ts'
import { isKeyOf } from './key-of.ts'
import { inPlace } from './named-place.ts'
import { readBytes } from './read-bytes.ts'
import { readContents } from './read-contents.ts'
import { readPassword } from './read-password.ts'
import type { RunningMesh } from './running-mesh.ts'

/** Certificates, and what is known about them from where they came. */
export interface Found {
  /** Certificates leaf first, where there is an order. */
  readonly contents: Contents
  readonly origin: Origin
  /** Roots that came from the same place and are trusted: an agent's. */
  readonly anchors?: Anchors
  /** Who it has to be. */
  readonly expectedId?: string
}

/**
 * Reads the file, dials the endpoint, or asks the workload or the agent that `input` names.
 *
 * @throws {Error} if there is not exactly one of these, or it cannot be read or reached
 */
export async function findCertificates(
  io: Io,
  input: Input,
  mesh: RunningMesh | undefined,
  signal: AbortSignal,
): Promise<Found> {
  const [place] = input.arguments
  const workload = textOption(input, 'workload')
  const agent = textOption(input, 'agent')
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs(input))])
  const named = [place, workload, agent].filter((one) => one !== undefined)
  if (named.length !== 1) {
    throw new DeployError(
      'DEPLOY_USAGE',
      `Cannot inspect a certificate: ${named.length} sources are named, expected one of FILE, -, HOST:PORT, --workload and --agent`,
    )
  }
  if (workload !== undefined) return fromWorkload(io, input, workload, mesh, deadline)
  if (agent !== undefined) return fromAgent(io, resolve(io.cwd, agent), deadline)
  return fromPlace(io, input, place ?? '-', deadline)
}

const MAX_TIMEOUT_MS = 600_000

/** A number alone is of seconds. */
function timeoutMs(input: Input): number {
  const text = textOption(input, 'timeout') ?? '5s'
  const ms = parseDuration(/^[\d.]+$/.test(text) ? `${text}s` : text)
  if (ms > 0 && ms <= MAX_TIMEOUT_MS) return ms
  throw new DeployError('DEPLOY_USAGE', `Cannot wait ${text}: expected more than none, up to 10m`)
}

const ENDPOINT = /^(?:\[([0-9a-fA-F:.]+)\]|([^/:\s]+)):(\d{1,5})$/

async function fromPlace(io: Io, input: Input, place: string, signal: AbortSignal): Promise<Found> {
  const endpoint = ENDPOINT.exec(place)
  if (endpoint && !(await isFile(resolve(io.cwd, place)))) {
    const [, ipv6, host = ipv6 ?? '', port] = endpoint
    return fromEndpoint(io, input, { host, port: Number(port) }, signal)
  }
  try {
    const password = await readPassword(io, textOption(input, 'passwordFile'))
    const bytes = await readBytes(place, io.cwd, MAX_INPUT_BYTES)
    const contents = inPlace(place, () => readContents(bytes, password))
    return { contents, origin: originOf(contents) }
  } catch (cause) {
    const why = FILE_FAULTS[(cause as NodeJS.ErrnoException).code ?? '']
    if (why === undefined) throw cause
    throw new DeployError('DEPLOY_USAGE', `Cannot inspect ${JSON.stringify(place)}: ${why}`, {
      cause,
    })
  }
}

/** What is not to be seen from the certificates alone. */
function originOf({ format, certificates, key, roots = [], jwtKeys = [] }: Contents): Origin {
  if (format === 'PEM' || format === 'DER') return []
  return [
    ['found in', format],
    ...(key
      ? [['private key', isKeyOf(key, certificates) ? 'fits' : 'DOES NOT FIT'] as const]
      : []),
    ...(roots.length > 0 ? [['roots', `${roots.length}, to verify the others with`] as const] : []),
    ...(jwtKeys.length > 0
      ? [['JWT keys', jwtKeys.map(({ kid, kty }) => `${kid} (${kty})`).join(', ')] as const]
      : []),
  ]
}

const FILE_FAULTS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file, and it is not HOST:PORT',
  EISDIR: 'it is a directory, expected a file',
  EACCES: 'this user may not read it',
  ENOTDIR: 'a part of its path is a file',
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

async function fromWorkload(
  io: Io,
  input: Input,
  name: string,
  mesh: RunningMesh | undefined,
  signal: AbortSignal,
): Promise<Found> {
  if (!mesh) {
    throw new DeployError(
      'DEPLOY_MESH_NOT_FOUND',
      `Cannot inspect workload ${name}: no mesh runs here; start one with redoubt up, or name its directory with --state`,
    )
  }
  const workload = mesh.workloads.find((one) => `${one.namespace}/${one.name}` === name)
  const known = mesh.workloads.map((one) => `${one.namespace}/${one.name}`).join(', ')
  if (!workload)
    throw new DeployError(
      'DEPLOY_USAGE',
      `Cannot inspect workload ${name}: expected one of ${known}`,
    )
  const [address] = Object.values(workload.inbound)
  const [, host = '', port] = /^(.*):(\d+)$/.exec(address ?? '') ?? []
  if (!port)
    throw new DeployError(
      'DEPLOY_CALL_REFUSED',
      `Cannot inspect workload ${name}: it has no sidecar`,
    )
  const found = await fromEndpoint(io, input, { host, port: Number(port) }, signal)
  return { ...found, origin: [['workload', name], ...found.origin], expectedId: workload.spiffeId }
}

async function fromAgent(io: Io, socketPath: string, signal: AbortSignal): Promise<Found> {
  let why = 'it did not answer in time'
  const log: Log = (_level, _event, fields) => {
    why = agentFault(String(fields?.['cause'] ?? why))
  }
  const { clock, now, random } = io
  const deps = { socketPath, clock, now, random, log }
  try {
    const { id, chain, key, bundles } = (await openSvid(deps, signal)).current
    const [{ trustDomain, roots } = { trustDomain: trustDomainOf(id), roots: [] }] = bundles
    return {
      contents: { format: 'agent', certificates: chain, key },
      origin: [['agent', socketPath]],
      anchors: { trustDomain, roots },
    }
  } catch (cause) {
    throw new DeployError('DEPLOY_CALL_REFUSED', `Cannot inspect agent ${socketPath}: ${why}`, {
      cause,
    })
  }
}

/** gRPC's words in ours. */
function agentFault(cause: string): string {
  if (cause.includes('PERMISSION_DENIED')) {
    return 'it knows no workload that this process belongs to; run the command from within one'
  }
  if (cause.includes('ENOENT')) return 'there is no such socket'
  if (cause.includes('ECONNREFUSED')) return 'nothing listens there'
  return cause.replace(/^Error: /, '').slice(0, 200)
}
