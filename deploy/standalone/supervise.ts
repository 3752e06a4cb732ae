/** A whole standalone mesh: what is planned is started, kept running, followed, and stopped. */
import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import type { Live } from '#core/live.ts'
import type { PolicyEvent } from '#policy/index.ts'
import { DeployError } from '../error.ts'
import { openControlPlane, type RunningControlPlane } from './control-plane.ts'
import { orAborted, type SuperviseDeps } from './entry-point.ts'
import { type InForce, inForce } from './in-force.ts'
import { faultLines, type Reading } from './last-good.ts'
import { trimLogs } from './log-files.ts'
import type { CaSettings, HeldCertificate } from './messages.ts'
import { deniesOf, type ToldDenial } from './denials.ts'
import { meshEventOf } from './policy-event.ts'
import { type ReadyLine, readyServices, readyWorkload } from './ready-line.ts'
import { answerOf, askedView, type MeshStatus, workloadStatus } from './status.ts'
import { caAuthorityOf, federatedDomainsOf } from './ca-settings.ts'
import { caFacts, type CaFacts, federate, tellUnfollowed } from './follow-ca.ts'
import { planChange, planTopology, type Topology } from './topology.ts'
import { createWorkloadSet, type WorkloadSet } from './workload-set.ts'

export interface MeshDeps extends SuperviseDeps {
  readonly ca: CaSettings
  /** Absolute: where relative manifest paths start. */
  readonly cwd: string
  readonly pid: number
}

/** A running mesh. Disposing it drains and ends every process. */
export interface Mesh extends AsyncDisposable {
  /** As it is now. */
  readonly readyLine: () => ReadyLine
  readonly status: () => Promise<MeshStatus>
  /** What decides now. */
  readonly inForce: () => Promise<InForce>
  /** The certificate that a workload's sidecar uses, `namespace/name`. */
  readonly certificate: (workload: string) => HeldCertificate | undefined
  readonly admitAdministrator: RunningControlPlane['admitAdministrator']
  readonly rotateByForce: RunningControlPlane['rotateByForce']
  /** Calls the CA's process. @throws {DeployError} `DEPLOY_CALL_REFUSED`, `DEPLOY_PROCESS_FAILED` */
  readonly callCa: RunningControlPlane['callCa']
  /** PEM file of the trust bundle. */
  readonly bundleFile: string
}

/** How long apps may take before the mesh counts as ready without them. */
const APPS_READY_MS = 10_000

/** Parts of the 3 s that stopping may take. */
const GRACE = { sidecarMs: 1000, appMs: 700, controlMs: 500 }

/** What is there before the mesh is. */
interface Running extends CaFacts {
  readonly reading: Live<Reading>
  readonly deps: MeshDeps
  readonly workloads: WorkloadSet
  readonly control: RunningControlPlane
  topology: Topology
}

/**
 * Starts everything that `reading` asks for and follows it. Resolves when the mesh is ready.
 *
 * @param signal - Gives up waiting for readiness; ending a mesh is disposing it.
 * @throws {DeployError} `DEPLOY_MANIFESTS_INVALID`, `DEPLOY_PROCESS_FAILED`
 */
export async function openMesh(
  reading: Live<Reading>,
  deps: MeshDeps,
  signal: AbortSignal,
): Promise<Mesh> {
  assertGood(reading.current)
  const running = await openRunning(reading, deps)
  const following = new AbortController()
  const end = async (): Promise<void> => {
    following.abort()
    await running.workloads.close(running.workloads.all().map(({ plan }) => plan.key))
    await running.control.stop(GRACE.controlMs)
  }
  try {
    await running.workloads.open(running.topology.workloads, contextOf(running))
    await orAborted(untilServing(running), signal)
    running.control.refreshPolicy()
    await untilApplied(running, signal)
    await writeMeshFile(running)
  } catch (cause) {
    await end()
    throw cause
  }
  void follow(running, following.signal)
  void trimLogs(join(deps.state.path, 'logs'), deps, following.signal)
  return {
    readyLine: () => readyLine(running),
    status: () => meshStatus(running),
    inForce: async () => {
      const subscribers = await running.control.policyStatus().catch(() => undefined)
      const { current } = running.reading
      return inForce(current, running.workloads.instances(current.intent), subscribers)
    },
    certificate: (workload) => running.workloads.find(workload)?.certificate(),
    admitAdministrator: running.control.admitAdministrator,
    rotateByForce: running.control.rotateByForce,
    callCa: running.control.callCa,
    bundleFile: running.control.ca.files.bundle,
    [Symbol.asyncDispose]: end,
  }
}

async function openRunning(reading: Live<Reading>, deps: MeshDeps): Promise<Running> {
  const workloads = createWorkloadSet(GRACE)
  const { intent } = reading.current
  const at = {
    topology: planTopology(intent, deps.cwd),
    ...caFacts(intent, deps.cwd),
  }
  const control = await openControlPlane(
    {
      topology: () => at.topology,
      lives: intent.mesh.certificates,
      ca: deps.ca,
      authority: () => caAuthorityOf(reading.current.intent, deps.cwd),
      federated: () => federatedDomainsOf(reading.current.intent, deps.cwd),
      policy: () => ({
        files: reading.current.files,
        instances: workloads.instances(reading.current.intent),
      }),
      onPolicyEvent(event) {
        const told = meshEventOf(event as PolicyEvent)
        if (told) deps.tell(told)
      },
    },
    deps,
  )
  return Object.assign(at, { reading, deps, workloads, control })
}

function contextOf({ deps, control, topology }: Running): Parameters<WorkloadSet['open']>[1] {
  return {
    ...deps,
    trustDomain: topology.trustDomain,
    agentSocket: control.agent.socket,
    policyAddress: () => control.policy.address,
    policyId: topology.control.policyId,
    registrations: control.registrations,
    onChange: control.refreshPolicy,
  }
}

/** @throws {DeployError} `DEPLOY_MANIFESTS_INVALID` naming the first fault and how many there are */
function assertGood({ faulty, intent }: Reading): void {
  const [first, ...more] = faulty.flatMap(faultLines)
  if (first !== undefined) {
    const others = more.length === 0 ? '' : ` (and ${more.length} more: run redoubt validate)`
    throw new DeployError('DEPLOY_MANIFESTS_INVALID', `Cannot start the mesh: ${first}${others}`)
  }
  if (intent.workloads.length > 0) return
  throw new DeployError(
    'DEPLOY_MANIFESTS_INVALID',
    'Cannot start the mesh: the manifests have no Workload; redoubt init DIR writes an example',
  )
}

/** Waits for every workload; for apps not longer than a while, since one may well be broken. */
async function untilServing({ workloads, deps }: Running): Promise<void> {
  const all = workloads.all()
  await Promise.all(all.map(async ({ sidecar }) => sidecar?.firstReady))
  const patience = new AbortController()
  await Promise.race([
    Promise.all(all.map(({ firstReady }) => firstReady)),
    deps.clock.sleep(APPS_READY_MS, patience.signal),
  ]).finally(() => patience.abort())
}

/** Milliseconds that sidecars have to acknowledge what is in force, and between two looks. */
const APPLIED_MS = 5000
const APPLIED_POLL_MS = 20

/**
 * Waits until sidecars have acknowledged what the policy server last gave them: an app that asked for
 * a service while it was starting has been told that nobody serves it.
 */
async function untilApplied({ control, deps }: Running, signal: AbortSignal): Promise<void> {
  const endMs = deps.clock.nowMs() + APPLIED_MS
  while (deps.clock.nowMs() < endMs) {
    // One that is started anew has nobody yet, and one that does not answer is not waited for.
    const asked = answerOf(control.policyStatus(), deps.clock).catch(() => undefined)
    const subscribers = (await asked) ?? []
    const resources = subscribers.flatMap((one) => (one.connected ? one.resources : []))
    const isPending = resources.some(
      ({ desired, applied, rejected }) => desired !== applied && !rejected,
    )
    if (!isPending) return
    await deps.clock.sleep(APPLIED_POLL_MS, signal)
  }
}

async function follow(running: Running, signal: AbortSignal): Promise<void> {
  let isFirst = true
  for await (const reading of running.reading.changes(signal)) {
    // The first one is what the mesh was started with.
    if (!isFirst)
      await apply(running, reading).catch((cause: unknown) => notApplied(running, cause))
    isFirst = false
  }
}

async function apply(running: Running, { intent, faulty }: Reading): Promise<void> {
  const { deps, control, workloads } = running
  for (const detail of faulty.flatMap(faultLines)) deps.tell({ event: 'rejected', detail })
  const planned = planTopology(intent, deps.cwd)
  if (planned.trustDomain !== running.topology.trustDomain) {
    throw new DeployError(
      'DEPLOY_MANIFESTS_INVALID',
      `Cannot change the trust domain to ${planned.trustDomain}: the mesh runs; stop it and start it anew`,
    )
  }
  tellUnfollowed(running, intent)
  await federate(running, intent)
  const { added, removed, changed } = planChange(running.topology.workloads, planned.workloads)
  running.topology = planned
  control.refreshPolicy()
  if (added.length + removed.length + changed.length === 0) return
  await control.widenScope()
  await workloads.close([...removed, ...changed.map(({ key }) => key)])
  await workloads.open([...added, ...changed], contextOf(running))
  control.refreshPolicy()
  await untilServing(running)
  await writeMeshFile(running)
}

function notApplied({ deps }: Running, cause: unknown): void {
  const detail = cause instanceof Error ? cause.message : String(cause)
  deps.tell({ event: 'rejected', detail })
}

function readyLine({ topology, control, workloads, reading, deps }: Running): ReadyLine {
  const { ca, policy, agent } = control
  const all = workloads.all()
  return {
    ready: true,
    trustDomain: topology.trustDomain,
    ca: caLine(ca),
    policy: { address: policy.address, metrics: policy.metrics },
    agent: { socket: agent.socket, metrics: agent.metrics },
    workloads: all.map(readyWorkload),
    services: readyServices(reading.current.intent),
    notReady: all.flatMap((one) => (one.ports() ? [] : [one.plan.key])),
    state: deps.state.path,
    pid: deps.pid,
  }
}

function caLine({ replicas, files }: RunningControlPlane['ca']): ReadyLine['ca'] {
  const [{ address, metrics } = { address: '', metrics: '' }] = replicas
  return { address, ...files, metrics, replicas }
}

/** Written aside and renamed, so that nobody reads half of it. */
async function writeMeshFile(running: Running): Promise<void> {
  const file = join(running.deps.state.path, 'mesh.json')
  const text = `${JSON.stringify(readyLine(running), null, 2)}\n`
  await writeFile(`${file}.new`, text, { mode: 0o600 })
  await rename(`${file}.new`, file)
}

async function meshStatus(running: Running): Promise<MeshStatus> {
  const { topology, control, workloads, reading, deps } = running
  // A policy server or CA that is down is part of the answer and no failure of it.
  const ask = <T>(question: Promise<T>) => answerOf(question, deps.clock).catch(() => undefined)
  const [subscribers, denials, unread, processes] = await Promise.all([
    ask(control.policyStatus()),
    ask(control.callCa('denials')),
    ask(control.unreadRows()),
    Promise.all(control.processes.map((one) => askedView(one, deps.clock))),
  ])
  const asked = { subscribers, denies: deniesOf((denials ?? []) as readonly ToldDenial[]) }
  return {
    trustDomain: topology.trustDomain,
    state: deps.state.path,
    processes,
    workloads: workloads.all().map((one) => workloadStatus(one, asked, deps.now())),
    manifests: reading.current.faulty,
    unread: unread ?? [],
  }
}
