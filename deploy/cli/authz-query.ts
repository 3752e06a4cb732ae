/** The flags that `authz check` and `authz explain` share, read into a query. */
import { isIP } from 'node:net'

import { readCaller } from '#policy/check/index.ts'
import { readManifests } from '#policy/dialects/index.ts'
import type {
  CheckQuery,
  DocumentReport,
  Intent,
  ManifestFile,
  QueryProtocol,
} from '#policy/index.ts'
import { DeployError } from '../error.ts'
import { type CommandOption, type Input, type Io, listOption, textOption } from './command.ts'
import { readManifestFiles } from './manifest-files.ts'
import { FILE_OPTION, readSource } from './manifest-source.ts'
import { OUTPUT_OPTION } from './output.ts'
import { STATE_OPTION } from './state-option.ts'

const PROTOCOLS: readonly QueryProtocol[] = ['http1', 'http2', 'grpc', 'tcp']

export const QUERY_OPTIONS: readonly CommandOption[] = [
  FILE_OPTION,
  STATE_OPTION,
  { flags: '--to <workload>', summary: 'namespace/name[:workload port]', required: true },
  { flags: '--from <spiffe-id>', summary: "the caller's SPIFFE ID, or none", required: true },
  { flags: '--protocol <name>', summary: 'what the caller speaks', choices: PROTOCOLS },
  { flags: '--method <token>', summary: 'HTTP method (GET)' },
  { flags: '--path <target>', summary: 'HTTP path, with its query (/)' },
  { flags: '--host <authority>', summary: 'Host or :authority' },
  { flags: '--header <k=v>', summary: 'a header line', repeat: true },
  { flags: '--claims <json>', summary: 'claims of a token taken as verified' },
  {
    flags: '--source-ip <address>',
    summary: 'where the connection comes from (the caller, else 127.0.0.1)',
  },
  { flags: '--remote-ip <address>', summary: 'the client behind trusted hops' },
  { flags: '--dest-ip <address>', summary: 'address of the workload (127.0.0.1)' },
  { flags: '--sni <name>', summary: 'SNI that the caller sends' },
  {
    flags: '--provider <name=answer>',
    summary: 'what an external provider says: allow or deny',
    repeat: true,
  },
  OUTPUT_OPTION,
]

/** @throws {DeployError} `DEPLOY_USAGE` @throws {PolicyError} `POLICY_NAME_INVALID` */
export function readQuery(input: Input): CheckQuery {
  const text = (name: string) => textOption(input, name)
  const protocol = PROTOCOLS.find((one) => one === text('protocol'))
  const fields = {
    protocol,
    method: text('method'),
    path: text('path'),
    host: text('host'),
    headers: readHeaders(listOption(input, 'header')),
    claims: readClaims(text('claims')),
    sourceIp: readAddress('--source-ip', text('sourceIp')),
    remoteIp: readAddress('--remote-ip', text('remoteIp')),
    destinationIp: readAddress('--dest-ip', text('destIp')),
    sni: text('sni'),
  }
  const given = Object.entries(fields).filter(([, value]) => value !== undefined)
  return {
    ...(Object.fromEntries(given) as Partial<CheckQuery>),
    to: readTarget(text('to') ?? ''),
    from: readCaller(text('from') ?? 'none'),
    providers: readProviders(listOption(input, 'provider')),
  }
}

/**
 * The intent of the manifests that `-f` names, else of those in force in the running mesh. Half of the
 * manifests would give half an answer, so all must be valid. What no mesh carries out decides nothing; it is
 * said on standard error.
 *
 * @throws {DeployError} `DEPLOY_USAGE`, `DEPLOY_MANIFESTS_INVALID` after each fault went to standard error
 */
export async function readIntent(io: Io, input: Input, signal: AbortSignal): Promise<Intent> {
  return intentOf(io, await readSource(io, input, signal))
}

/** {@link readIntent} of the manifests that `paths` name. */
export async function readIntentOf(io: Io, paths: readonly string[]): Promise<Intent> {
  return intentOf(io, await readManifestFiles(io, paths))
}

/** {@link readIntent} of manifests that have been read. */
export function intentOf(io: Io, files: readonly ManifestFile[]): Intent {
  const { intent, documents } = readManifests(files)
  const invalid = documents.filter(({ valid }) => !valid)
  for (const line of documents.flatMap(faultLines)) io.err(line)
  if (invalid.length === 0) return intent
  const count = `${invalid.length} of ${documents.length} documents`
  throw new DeployError('DEPLOY_MANIFESTS_INVALID', `Cannot decide: ${count} are not valid`)
}

function faultLines({ file, errors }: DocumentReport): readonly string[] {
  return errors.map(({ line, pointer, message }) => `${file}:${line} ${pointer} ${message}`)
}

function readTarget(text: string): CheckQuery['to'] {
  const [, namespace = '', name = '', port] = /^([^/:]+)\/([^/:]+)(?::(\d{1,5}))?$/.exec(text) ?? []
  const number = Number(port)
  if (namespace === '' || (port !== undefined && (number < 1 || number > 65_535))) {
    throw usage(`read --to ${JSON.stringify(text)}`, 'expected namespace/workload[:port]')
  }
  return port === undefined ? { namespace, name } : { namespace, name, port: number }
}

function readAddress(flag: string, text: string | undefined): string | undefined {
  if (text === undefined || isIP(text) !== 0) return text
  throw usage(`read ${flag} ${JSON.stringify(text)}`, 'expected an IPv4 or IPv6 address')
}

function readHeaders(lines: readonly string[]): CheckQuery['headers'] {
  if (lines.length === 0) return undefined
  const headers: Record<string, string[]> = {}
  for (const line of lines) {
    const { left, right } = splitPair('--header', line, 'name=value')
    headers[left] = [...(headers[left] ?? []), right]
  }
  return headers
}

function readClaims(json: string | undefined): CheckQuery['claims'] {
  if (json === undefined) return undefined
  const claims = parseJson(json)
  if (typeof claims === 'object' && claims !== null && !Array.isArray(claims)) {
    return claims as Readonly<Record<string, unknown>>
  }
  throw usage(`read --claims ${JSON.stringify(json)}`, 'expected a JSON object')
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined // no object either, and told as such
  }
}

/** What external providers answer, from `name=allow` and `name=deny`. @throws {DeployError} `DEPLOY_USAGE` */
export function readProviders(
  lines: readonly string[],
): Readonly<Record<string, 'allow' | 'deny'>> {
  const entries = lines.map((line) => {
    const { left, right } = splitPair('--provider', line, 'name=allow or name=deny')
    if (right === 'allow' || right === 'deny') return [left, right] as const
    throw usage(`read --provider ${JSON.stringify(line)}`, 'expected name=allow or name=deny')
  })
  return Object.fromEntries(entries)
}

function splitPair(flag: string, line: string, wanted: string): { left: string; right: string } {
  const at = line.indexOf('=')
  if (at < 1) throw usage(`read ${flag} ${JSON.stringify(line)}`, `expected ${wanted}`)
  return { left: line.slice(0, at), right: line.slice(at + 1) }
}

function usage(what: string, wanted: string): DeployError {
  return new DeployError('DEPLOY_USAGE', `Cannot ${what}: ${wanted}`)
}
