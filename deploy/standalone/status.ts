/** What `redoubt status` shows, put together from what processes report. Pure. */
import type { Clock } from '#core/clock.ts'
import type { DocumentReport, RowsFault, SubscriberStatus } from '#policy/index.ts'
import type { KeptProcess, ProcessState } from './kept-process.ts'
import type { HeldCertificate } from './messages.ts'
import type { RunningWorkload } from './workload.ts'

export interface ProcessView {
  readonly name: string
  readonly state: ProcessState
  readonly pid?: number
  readonly restarts: number
  /** How it last ended. */
  readonly lastExit?: string
  /** What it says of itself; absent for those that are not asked. */
  readonly health?: ProcessHealth
}

/** Whether it does its work, and what it would be well to know: reasons are told of one that is ready, too. */
export interface ProcessHealth {
  readonly ready: boolean
  readonly reasons: readonly string[]
}

export interface ResourceView {
  readonly name: string
  readonly desired: string
  readonly applied: string
  readonly rejected?: { readonly version: string; readonly reason: string }
}

export interface WorkloadStatus {
  readonly namespace: string
  readonly name: string
  readonly spiffeId: string
  readonly ready: boolean
  readonly certificate?: {
    readonly serial: string
    readonly issuedAt: string
    readonly notAfter: string
    readonly remainingSeconds: number
    readonly rotations: number
    readonly bundleGeneration: number
  }
  /** Whether its sidecar's stream to the policy server is open; absent when that could not be asked. */
  readonly connected?: boolean
  readonly configuration: readonly ResourceView[]
  readonly sidecar?: ProcessView
  readonly app?: ProcessView
}

export interface MeshStatus {
  readonly trustDomain: string
  readonly state: string
  readonly processes: readonly ProcessView[]
  readonly workloads: readonly WorkloadStatus[]
  /** Manifests with faults: their files' last good text is in force. */
  readonly manifests: readonly DocumentReport[]
  /** CasbinPolicies whose database cannot be read now. */
  readonly unread: readonly RowsFault[]
}

/** One process as it is now. */
export function processView(process: KeptProcess): ProcessView {
  const pid = process.child()?.pid
  const lastExit = process.lastExit()
  return {
    name: process.name,
    state: process.state(),
    ...(pid === undefined ? {} : { pid }),
    restarts: process.restarts(),
    ...(lastExit === undefined ? {} : { lastExit }),
  }
}

/** Milliseconds after which a process that does not answer is told of as such. */
const PATIENCE_MS = 2000

/** A process as it is now, and what it says of itself. */
export async function askedView(process: KeptProcess, clock: Clock): Promise<ProcessView> {
  const view = processView(process)
  if (view.state !== 'ready') return view
  const answered = new AbortController()
  const silence = clock.sleep(PATIENCE_MS, answered.signal).then(() => NO_ANSWER)
  try {
    const asked = process.call('health') as Promise<ProcessHealth>
    return { ...view, health: await Promise.race([asked, silence]) }
  } catch {
    return processView(process) // It has ended meanwhile.
  } finally {
    silence.catch(() => {}) // Nobody waits for it any more.
    answered.abort()
  }
}

const NO_ANSWER: ProcessHealth = { ready: false, reasons: ['it does not answer'] }

/** @param subscribers - As the policy server says; `undefined` when it could not be asked. */
export function workloadStatus(
  workload: RunningWorkload,
  subscribers: readonly SubscriberStatus[] | undefined,
  now: Temporal.Instant,
): WorkloadStatus {
  const { plan, sidecar } = workload
  const subscriber = subscribers?.find((one) => one.workload === plan.key)
  const certificate = workload.certificate()
  const app = workload.app()
  return {
    namespace: plan.namespace,
    name: plan.name,
    spiffeId: plan.spiffeId,
    ready: workload.ports() !== undefined,
    ...(certificate
      ? { certificate: certificateView(certificate, workload.rotations(), now) }
      : {}),
    ...(subscribers ? { connected: subscriber?.connected ?? false } : {}),
    configuration: subscriber?.resources ?? [],
    ...(sidecar ? { sidecar: processView(sidecar) } : {}),
    ...(app ? { app: processView(app) } : {}),
  }
}

function certificateView(
  { serial, issuedAt, notAfter, bundleGeneration }: HeldCertificate,
  rotations: number,
  now: Temporal.Instant,
): NonNullable<WorkloadStatus['certificate']> {
  const left = Temporal.Instant.from(notAfter).since(now).total('seconds')
  return {
    serial,
    issuedAt,
    notAfter,
    remainingSeconds: Math.max(0, Math.round(left * 10) / 10),
    rotations,
    bundleGeneration,
  }
}
