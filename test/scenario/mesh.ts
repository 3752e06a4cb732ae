/**
 * A whole mesh in one process: the CA, agents, policy server and sidecars of production, over real
 * sockets, with a clock that the story moves. Two things differ from `redoubt up`: the clock, and how
 * a caller is identified: one process has one pid, so each identity lives on a node of its own, whose
 * agent answers everybody with it.
 */
import type { RequestListener } from 'node:http'
import { setTimeout as realSleep } from 'node:timers/promises'
import type { Agent, Rotation } from '#agent/index.ts'
import { serviceAccountId, type SpiffeId } from '#ca/spiffe/index.ts'
import { createLive } from '#core/live.ts'
import {
  type DocumentReport,
  gatewayPortsOf,
  type Intent,
  openPolicyServer,
  type PolicyServer,
  readManifests,
  type Workload,
  type WorkloadInstance,
} from '#policy/index.ts'
import { openProxy, type Proxy as Sidecar } from '#proxy/index.ts'
import { temporaryDir } from '#test/ca/harness.ts'

import { type App, type CallOptions, createCaller, echo, type Reply, startApp } from './app.ts'
import {
  type Authority,
  type ControlDeps,
  createNodes,
  servePolicy,
  startAuthority,
  systemId,
} from './control.ts'
import { createStoryTime, type StoryTime } from './time.ts'

export interface MeshOptions {
  /** YAML: everything but the apps, which are started here. */
  readonly manifests: string
  /** Answers of an app by the workload's name. @default an echo */
  readonly apps?: Readonly<Record<string, RequestListener>>
  /** Life of workload certificates. @default 16 s */
  readonly leafTtl?: string
  /** Life of the agents' own, after their first. @default 1 h */
  readonly ownTtl?: string
  /** Numbers in [0, 1). @default always 0.5 */
  readonly random?: () => number
}

export interface MeshWorkload extends AsyncDisposable {
  readonly spiffeId: SpiffeId
  readonly proxy: Sidecar
  /** Its node's, as it was at first. */
  readonly agent: Agent
  readonly app: App
  /** Lines of its sidecar's access log, parsed. */
  readonly accessLog: readonly Readonly<Record<string, unknown>>[]
  /** A request of the app through its own sidecar; time goes on while it is under way. */
  readonly call: (host: string, path: string, options?: CallOptions) => Promise<Reply>
}

export interface Mesh extends StoryTime, AsyncDisposable {
  /** By its name, which no two namespaces share here. */
  readonly workload: (name: string) => MeshWorkload
  /** Replaces one text of the manifests; if any document is then invalid, the last good ones stay. */
  readonly edit: (from: string, to: string) => readonly DocumentReport[]
  /** Changes what the policy server is told beyond what manifests can say: for bundles that are broken. */
  readonly intend: (change: (intent: Intent) => Intent) => void
  readonly policy: PolicyServer
  /** Rotations by SPIFFE ID, the first ones too. */
  readonly rotations: ReadonlyMap<SpiffeId, readonly Rotation[]>
  readonly ca: Authority
  /** The app and its sidecar vanish; peers still hold their address. */
  readonly kill: (name: string) => Promise<void>
  /** The agent of a workload's node ends; after `meanwhile` it starts again and attests anew. */
  readonly restartAgent: (name: string, meanwhile: () => Promise<void>) => Promise<void>
  readonly log: readonly LogEntry[]
}

export interface LogEntry {
  readonly event: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** Starts everything, and resolves when every sidecar serves. */
export async function startMesh(options: MeshOptions): Promise<Mesh> {
  await using opening = new AsyncDisposableStack()
  const time = createStoryTime()
  const log: LogEntry[] = []
  const deps: ControlDeps = {
    clock: time.clock,
    now: time.now,
    random: options.random ?? (() => 0.5),
    log: (_level, event, fields = {}) => void log.push({ event, fields }),
  }
  const manifests = openManifests(options.manifests)
  const { mesh, workloads: planned } = manifests.intent.current
  const { trustDomain } = mesh
  const dir = opening.use(await temporaryDir())
  const control = {
    dir: dir.path,
    trustDomain,
    leafTtl: Temporal.Duration.from(options.leafTtl ?? 'PT16S'),
    ownTtl: Temporal.Duration.from(options.ownTtl ?? 'PT1H'),
  }
  const ca = opening.use(await startAuthority(control, deps))
  const nodes = opening.use(createNodes(control, ca, deps))
  const instances = createLive(planned.map((one) => instanceOf(one, {})))
  const policy = opening.use(
    openPolicyServer({ ...deps, intent: manifests.intent, instances: instances.live }),
  )
  const policyId = systemId(trustDomain, 'redoubt-policy')
  const listener = opening.use(await servePolicy(policy, await nodes.agentFor(policyId), deps))

  const open = async (one: Workload): Promise<[string, MeshWorkload]> => {
    const { name } = one
    const gateway = gatewayPortsOf(manifests.intent.current, one).map(({ port }) => port)
    const agent = await nodes.agentFor(serviceAccountId(trustDomain, one))
    const control = { agent, policyAddress: listener.address, policyId, gateway }
    const opened = await openWorkload(one, options.apps?.[name] ?? echo(name), control, deps)
    return [name, opening.use(opened)]
  }
  const workloads = new Map(await Promise.all(planned.map(open)))
  instances.set(
    planned.map((one) => instanceOf(one, workloads.get(one.name)?.proxy.addresses.inbound ?? {})),
  )
  time.gates.add(() => rotationsSettle([...workloads.values()], time.now))

  const workload = (name: string): MeshWorkload => {
    const found = workloads.get(name)
    if (!found) throw new Error(`there is no workload ${name}`)
    return found
  }
  const owned = opening.move()
  return {
    ...time,
    workload,
    edit: manifests.edit,
    intend: manifests.intend,
    policy,
    rotations: nodes.rotations,
    ca,
    async kill(name) {
      const gone = workload(name)
      workloads.delete(name)
      await gone[Symbol.asyncDispose]()
    },
    restartAgent: (name, meanwhile) => nodes.restart(workload(name).spiffeId, meanwhile),
    log,
    [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
  }
}

/** Manifests as a file that is edited: what is invalid is reported and changes nothing. */
function openManifests(text: string) {
  const read = (candidate: string) => readManifests([{ path: 'mesh.yaml', text: candidate }])
  const { intent: first, documents } = read(text)
  const faulty = documents.filter(({ valid }) => !valid)
  if (faulty.length > 0) throw new Error(`the manifests are invalid: ${JSON.stringify(faulty)}`)
  const intent = createLive(first)
  let inForce = text
  return {
    intent: intent.live,
    intend: (change: (now: Intent) => Intent) => intent.set(change(intent.live.current)),
    edit: (from: string, to: string): readonly DocumentReport[] => {
      if (!inForce.includes(from)) throw new Error(`no manifest has ${JSON.stringify(from)}`)
      const candidate = inForce.replace(from, to)
      const next = read(candidate)
      if (next.documents.every(({ valid }) => valid)) {
        inForce = candidate
        intent.set(next.intent)
      }
      return next.documents
    },
  }
}

/** A workload as its peers find it. Before it listens they find a port at which nobody is. */
function instanceOf(
  { namespace, name, labels, serviceAccount, sidecar, ports }: Workload,
  addresses: Readonly<Record<number, string>>,
): WorkloadInstance {
  const listening = ports.map((port) => ({
    ...port,
    address: addresses[port.port] ?? '127.0.0.1:1',
  }))
  return { namespace, name, labels, serviceAccount, sidecar, ports: listening }
}

const ANY_PORT = '127.0.0.1:0'

async function openWorkload(
  { namespace, name, ports }: Workload,
  answer: RequestListener,
  control: {
    readonly agent: Agent
    readonly policyAddress: string
    readonly policyId: SpiffeId
    /** Its ports at which it is a gateway. */
    readonly gateway: readonly number[]
  },
  deps: ControlDeps,
): Promise<MeshWorkload> {
  const { agent, policyAddress, policyId, gateway } = control
  const guarded = ports.filter(({ port }) => !gateway.includes(port))
  const app = await startApp(answer)
  const accessLog: Readonly<Record<string, unknown>>[] = []
  const proxy = await openProxy(
    {
      workload: { namespace, name },
      trustDomain: agent.bundle.current.trustDomain,
      agentSocket: agent.socketPath,
      policyAddress,
      policyId,
      inbound: guarded.map(({ port }) => ({ port, listen: ANY_PORT, app: app.address })),
      gateway: gateway.map((port) => ({ port, listen: ANY_PORT })),
      outbound: ANY_PORT,
      admin: ANY_PORT,
      metrics: ANY_PORT,
      readiness: ANY_PORT,
      drainMs: 1000,
    },
    { ...deps, writeAccessLog: (line) => void accessLog.push(JSON.parse(line)) },
  )
  const caller = createCaller(proxy.addresses.outbound)
  return {
    spiffeId: proxy.svid.current.id,
    proxy,
    agent,
    app,
    accessLog,
    call: caller.call,
    async [Symbol.asyncDispose]() {
      caller[Symbol.dispose]()
      await proxy[Symbol.asyncDispose]()
      await app[Symbol.asyncDispose]()
    },
  }
}

/** Waits until no rotation that can succeed is on its way from CA to sidecar. */
async function rotationsSettle(
  workloads: readonly MeshWorkload[],
  now: () => Temporal.Instant,
): Promise<void> {
  const isOnItsWay = ({ agent, proxy }: MeshWorkload): boolean => {
    const [held] = agent.held()
    if (!held || agent.node.current.kind === 'unattested') return false
    const isDue = Temporal.Instant.compare(held.renewAt, now()) <= 0
    return isDue || proxy.svid.current.serial !== held.svid.serial
  }
  for (let tries = 0; tries < 8 && workloads.some(isOnItsWay); tries += 1) await realSleep(2)
}
