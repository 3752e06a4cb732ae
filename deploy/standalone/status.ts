/** What `redoubt status` shows, put together from what processes report. Pure. */
import { type Denies, findDenied } from '#ca/x509/index.ts'
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
  /**
   * Milliseconds by which another clock is ahead of its own, as measured with that one's last answer: of the agent,
   * the CA's; of a CA that has tokens reviewed, the API server's.
   */
  readonly clockOffsetMs?: number
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
  /** What of it is on the CA's deny-list; absent when nothing is, or the CA could not be asked. */
  readonly revoked?: { readonly kind: string; readonly value: string }
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
  try {
    const health = (await answerOf(process.call('health'), clock)) ?? NO_ANSWER
    return { ...view, health: health as ProcessHealth }
  } catch {
    return processView(process) // It has ended meanwhile.
  }
}

/** What a process answers; `undefined` if it does not. Rejects as the question does. */
export async function answerOf<T>(question: Promise<T>, clock: Clock): Promise<T | undefined> {
  const answered = new AbortController()
  const silence = clock.sleep(PATIENCE_MS, answered.signal).then(() => undefined)
  try {
    return await Promise.race([question, silence])
  } finally {
    silence.catch(() => {}) // Nobody waits for it any more.
    answered.abort()
  }
}

const NO_ANSWER: ProcessHealth = { ready: false, reasons: ['it does not answer'] }

/** What those who were asked say; each is `undefined` when it could not be. */
export interface Asked {
  /** By the policy server. */
  readonly subscribers: readonly SubscriberStatus[] | undefined
  /** By the CA; `undefined`, too, when nothing is denied. */
  readonly denies: Denies | undefined
}

/** A workload as it is now. */
export function workloadStatus(
  workload: Pick<
    RunningWorkload,
    'plan' | 'sidecar' | 'certificate' | 'rotations' | 'app' | 'ports'
  >,
  { subscribers, denies }: Asked,
  now: Temporal.Instant,
): WorkloadStatus {
  const { plan, sidecar } = workload
  const subscriber = subscribers?.find((one) => one.workload === plan.key)
  const certificate = workload.certificate()
  const app = workload.app()
  const { spiffeId: id } = plan
  const revoked = findDenied(denies, { id, serial: certificate?.serial ?? '', keyIds: [] }, now)
  return {
    namespace: plan.namespace,
    name: plan.name,
    spiffeId: plan.spiffeId,
    ready: workload.ports() !== undefined,
    ...(revoked && { revoked }),
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
