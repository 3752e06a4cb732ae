/** Asks the processes of a running mesh what they know, over the addresses of its ready line. */
import type { ReadyLine, ReadyWorkload } from '../standalone/ready-line.ts'
import { type ExposedSample, readExposition } from './exposition.ts'
import {
  edgesOf,
  type IntruderReading,
  type LoadReading,
  type Reading,
  type RefusalReading,
  sumOf,
  valueFor,
  type WorkloadReading,
} from './reading.ts'

export interface CollectDeps {
  /** GET over HTTP; the body as text. Rejects on any other status than 200. */
  readonly get: (url: string, signal: AbortSignal) => Promise<string>
  readonly nowMs: () => number
}

/** Reads everything once. What does not answer is left out: the newest that is known stays on view. */
export type Collect = (signal: AbortSignal) => Promise<Reading>

/** As much of a sidecar's `/certs` as is shown. */
interface Certs {
  readonly spiffeId: string
  readonly serial: string
  readonly notAfter: string
}

/** As much of a sidecar's `/decisions` as is counted. */
interface Decisions {
  readonly decisions: readonly {
    readonly sequence: number
    readonly policy: string | null
    readonly considered: readonly string[]
    readonly connection: { readonly peer?: string }
  }[]
}

/** Where the sample's load and its intruder report what they saw. */
const EDGE = { workload: 'edge', path: '/stats' }
const INTRUDER = { workload: 'intruder', path: '/' }
const APP_PORT = '8080'

/** @param readyLine - Asked at each reading: addresses may change. */
export function createCollector(readyLine: () => ReadyLine, deps: CollectDeps): Collect {
  const refusals = new Map<string, RefusalReading>()
  const seen = new Map<string, number>()
  return async (signal) => {
    const { agent, workloads } = readyLine()
    const quietly = async <T>(read: Promise<T>): Promise<T | undefined> => {
      try {
        return await read
      } catch {
        return undefined // A process that is being restarted.
      }
    }
    const expose = async (address: string, path: string): Promise<readonly ExposedSample[]> =>
      readExposition((await quietly(deps.get(`http://${address}${path}`, signal))) ?? '')
    const agentSamples = await expose(agent.metrics, '/metrics')
    const sidecars = await Promise.all(
      workloads.map(async (workload) => {
        const key = `${workload.namespace}/${workload.name}`
        const samples = workload.metrics ? await expose(workload.metrics, '/stats/prometheus') : []
        const certs = workload.admin
          ? await quietly(readJson<Certs>(deps, `http://${workload.admin}/certs`, signal))
          : undefined
        await quietly(countRefusals(deps, workload, { key, refusals, seen }, signal))
        return { key, samples, certs }
      }),
    )
    return {
      atMs: deps.nowMs(),
      workloads: sidecars.flatMap(({ key, samples, certs }) =>
        certs ? [workloadReading(key, certs, samples, agentSamples)] : [],
      ),
      edges: sidecars.flatMap(({ key, samples }) => edgesOf(key, samples)),
      refusals: [...refusals.values()],
      load: await quietly(readApp<LoadReading>(deps, workloads, EDGE, signal)),
      intruder: await quietly(readApp<IntruderReading>(deps, workloads, INTRUDER, signal)),
    }
  }
}

async function readJson<T>({ get }: CollectDeps, url: string, signal: AbortSignal): Promise<T> {
  return JSON.parse(await get(url, signal)) as T
}

async function readApp<T>(
  deps: CollectDeps,
  workloads: readonly ReadyWorkload[],
  { workload, path }: { readonly workload: string; readonly path: string },
  signal: AbortSignal,
): Promise<T> {
  const address = workloads.find(({ name }) => name === workload)?.app[APP_PORT]
  return readJson<T>(deps, `http://${address}${path}`, signal)
}

function workloadReading(
  workload: string,
  { spiffeId, serial, notAfter }: Certs,
  samples: readonly ExposedSample[],
  agentSamples: readonly ExposedSample[],
): WorkloadReading {
  const renewal = valueFor('redoubt_agent_svid_renewal_due_seconds', spiffeId, agentSamples)
  return {
    workload,
    spiffeId,
    serial,
    notAfterMs: Temporal.Instant.from(notAfter).epochMilliseconds,
    renewalMs: renewal === undefined ? undefined : renewal * 1000,
    rotations: sumOf('redoubt_svid_rotations_total', samples),
    retries: sumOf('redoubt_request_retries_total', samples),
  }
}

/** Adds the denials that a sidecar has had since it was last asked. */
async function countRefusals(
  deps: CollectDeps,
  { admin }: ReadyWorkload,
  into: {
    readonly key: string
    readonly refusals: Map<string, RefusalReading>
    readonly seen: Map<string, number>
  },
  signal: AbortSignal,
): Promise<void> {
  if (admin === undefined) return
  const { key, refusals, seen } = into
  const url = `http://${admin}/decisions?limit=1000&since=${seen.get(key) ?? 0}`
  const { decisions } = await readJson<Decisions>(deps, url, signal)
  for (const { sequence, policy, considered, connection } of decisions) {
    seen.set(key, sequence)
    const from = connection.peer ?? 'nobody (plaintext)'
    const id = [from, key, policy].join(' ')
    const known = refusals.get(id)
    refusals.set(id, {
      from,
      to: key,
      policy: policy ?? undefined,
      considered,
      count: (known?.count ?? 0) + 1,
    })
  }
}
