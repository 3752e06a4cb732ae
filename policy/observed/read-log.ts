/** Access logs, as evidence of who called what: the lines of the callee's sidecar, counted by what they say. */
import { parseSpiffeId, type SpiffeId } from '#ca/spiffe/index.ts'
import type { DryRunResult } from '../model/index.ts'

/** Requests, or opaque connections, that are alike. */
export interface Observation {
  readonly protocol: 'http' | 'tcp'
  /** `namespace/name` of the callee. */
  readonly workload: string
  /** Workload port; `undefined` where the line does not say: the request was refused. */
  readonly port: number | undefined
  /** `undefined`: plaintext. */
  readonly caller: SpiffeId | undefined
  /** '' of a connection, as is `target`. */
  readonly method: string
  /** Request target as sent, with its query. */
  readonly target: string
  readonly host: string | undefined
  readonly sourceIp: string | undefined
  readonly forwardedFor: string | undefined
  readonly userAgent: string | undefined
  /** `unknown`: no policy was asked, or the line is another proxy's. */
  readonly decision: 'allow' | 'deny' | 'unknown'
  /** An enforced ALLOW policy matched, so a further one takes nothing away. */
  readonly allowedByPolicy: boolean
  readonly dryRun: readonly DryRunResult[]
  readonly requests: number
  /** ISO 8601, of the newest of them. */
  readonly lastSeen: string
}

/** What logs had to say. */
export interface Observed {
  readonly observations: readonly Observation[]
  /** Requests in them. */
  readonly requests: number
  /** Lines of the caller's side, and of requests that no policy was asked about. */
  readonly skipped: number
  /** Lines that are no JSON, or not of an access log. */
  readonly unreadable: number
}

export interface ReadOptions {
  /** Lines of before are passed over. */
  readonly since?: Temporal.Instant | undefined
  /** Takes lines of which no decision is known too. @default false */
  readonly undecided?: boolean
}

/**
 * Reads access logs: lines of JSON as sidecars write them. A line that cannot be read is counted, never
 * fatal: logs are cut in the middle.
 */
export function readAccessLog(
  texts: readonly string[],
  { since, undecided = false }: ReadOptions = {},
): Observed {
  const counted = new Map<string, { -readonly [K in keyof Observation]: Observation[K] }>()
  let requests = 0
  let skipped = 0
  let unreadable = 0
  for (const line of texts.flatMap((text) => text.split('\n'))) {
    if (line.trim() === '') continue
    const read = readLine(line)
    if (read === 'unreadable') unreadable += 1
    else if (read === 'skipped' || (read.decision === 'unknown' && !undecided)) skipped += 1
    else if (since === undefined || isSince(read.lastSeen, since)) {
      requests += 1
      const { lastSeen, ...alike } = read
      const key = JSON.stringify(alike)
      const known = counted.get(key)
      if (known === undefined) counted.set(key, read)
      else {
        known.requests += 1
        if (lastSeen > known.lastSeen) known.lastSeen = lastSeen
      }
    }
  }
  return { observations: [...counted.values()], requests, skipped, unreadable }
}

type Fields = Readonly<Record<string, unknown>>

function readLine(line: string): Observation | 'skipped' | 'unreadable' {
  try {
    // `redoubt logs` puts the file's name before a line.
    const value = JSON.parse(line.slice(Math.max(0, line.indexOf('{')))) as Fields | null
    if (typeof value !== 'object' || value === null || !('reporter' in value)) return 'unreadable'
    const workload = textOf(value['destination_workload'])
    const said = value['decision']
    if (value['reporter'] !== 'destination' || workload === undefined) return 'skipped'
    const decision = said === 'allow' || said === 'deny' ? said : 'unknown'
    const principal = textOf(value['source_principal'])
    return {
      // Envoy's name for the protocol of a connection that it does not read is none.
      protocol: textOf(value['protocol']) === undefined && isConnection(value) ? 'tcp' : 'http',
      workload,
      port: portOf(textOf(value['upstream_cluster'])),
      // Plaintext is logged as `unknown`.
      caller: principal?.startsWith('spiffe://') ? parseSpiffeId(principal) : undefined,
      method: textOf(value['method']) ?? '',
      target: textOf(value['path']) ?? '',
      host: textOf(value['authority']),
      sourceIp: textOf(value['downstream_remote_address'])?.replace(/:\d+$/, ''),
      forwardedFor: textOf(value['x_forwarded_for']),
      userAgent: textOf(value['user_agent']),
      decision,
      allowedByPolicy: decision === 'allow' && value['action'] === 'ALLOW',
      dryRun: dryRunOf(value['dry_run']),
      requests: 1,
      lastSeen: textOf(value['start_time']) ?? '',
    }
  } catch {
    return 'unreadable'
  }
}

function isConnection({ method, path }: Fields): boolean {
  return textOf(method) === undefined && textOf(path) === undefined
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** `inbound|8080||`, as Envoy writes it. */
function portOf(cluster: string | undefined): number | undefined {
  const [, port] = /^inbound\|(\d{1,5})\|/.exec(cluster ?? '') ?? []
  return port === undefined ? undefined : Number(port)
}

function dryRunOf(value: unknown): readonly DryRunResult[] {
  if (!Array.isArray(value)) return []
  return value.filter(
    (one: Partial<DryRunResult> | null): one is DryRunResult =>
      typeof one?.policy === 'string' && (one.result === 'allowed' || one.result === 'denied'),
  )
}

function isSince(time: string, since: Temporal.Instant): boolean {
  try {
    return Temporal.Instant.compare(Temporal.Instant.from(time), since) >= 0
  } catch {
    return true // It does not say when: better one too many than a caller forgotten.
  }
}
