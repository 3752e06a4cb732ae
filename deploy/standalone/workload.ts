/** One workload: its sidecar, then its app, which has to know where the sidecar takes its requests. */
import { join } from 'node:path'

import type { WorkloadInstance } from '#policy/index.ts'
import { appEnvironment } from './app-environment.ts'
import { type Child, startChild } from './child.ts'
import { orAborted, type SuperviseDeps, startEntryPoint } from './entry-point.ts'
import { type KeptProcess, keepProcess } from './kept-process.ts'
import type {
  HeldCertificate,
  ProxyAddresses,
  ProxyEvent,
  ProxyProcessConfig,
  ProxyReady,
} from './messages.ts'
import { freePorts } from './ports.ts'
import { untilReady } from './probe.ts'
import type { Registrations } from './registrations.ts'
import type { AppPlan, SidecarPlan, WorkloadPlan } from './topology.ts'

export interface WorkloadContext extends SuperviseDeps {
  readonly trustDomain: string
  readonly agentSocket: string
  readonly policyAddress: () => string
  readonly policyId: string
  /** Absolute: where relative paths in manifests start. */
  readonly cwd: string
  readonly registrations: Registrations
  /** Called when anything about the workload has changed. */
  readonly onChange: () => void
}

export interface RunningWorkload {
  readonly plan: WorkloadPlan
  readonly sidecar?: KeptProcess
  readonly app: () => KeptProcess | undefined
  readonly addresses: () => ProxyAddresses | undefined
  /** `host:port` of the app by workload port. */
  readonly appAddresses: Readonly<Record<string, string>>
  readonly certificate: () => HeldCertificate | undefined
  /** Rotations since the first certificate. */
  readonly rotations: () => number
  /** Where its peers may send requests; `undefined` while they may not. */
  readonly ports: () => WorkloadInstance['ports'] | undefined
  /** Resolves when it serves for the first time; rejects if it cannot be started at all. */
  readonly firstReady: Promise<void>
  /** Ends the sidecar after the requests in flight, at the latest after `graceMs`. */
  readonly drain: (graceMs: number) => Promise<void>
  readonly stop: (graceMs: number) => Promise<void>
}

/** Longest wait of a sidecar for requests in flight. */
const DRAIN_MS = 900

/** Starts a workload and keeps it running. */
export async function openWorkload(
  plan: WorkloadPlan,
  context: WorkloadContext,
): Promise<RunningWorkload> {
  const { key } = plan
  const appAddresses = await placeApp(plan, context.random)
  const held: Held = { rotations: 0 }
  const sidecar = plan.sidecar && keepSidecar(plan, plan.sidecar, appAddresses, held, context)
  let app: KeptProcess | undefined
  const startApp = async (): Promise<void> => {
    await sidecar?.firstReady
    if (plan.app.kind !== 'run') return
    app = keepApp(plan, plan.app, appAddresses, held, context)
    await app.firstReady
  }
  const firstReady = startApp()
  firstReady.catch(() => {}) // The supervisor looks at it at the start only.

  const isServing = (): boolean =>
    (sidecar?.state() ?? 'ready') === 'ready' &&
    (plan.app.kind !== 'run' || app?.state() === 'ready')
  return {
    plan,
    ...(sidecar ? { sidecar } : {}),
    app: () => app,
    addresses: () => held.addresses,
    appAddresses,
    certificate: () => held.certificate,
    rotations: () => held.rotations,
    firstReady,
    ports() {
      const reached = plan.sidecar ? held.addresses?.inbound : appAddresses
      if (!reached || !isServing()) return undefined
      return plan.ports.map(({ port, name }) => ({ port, name, address: reached[port] ?? '' }))
    },
    async drain(graceMs) {
      await sidecar?.stop(graceMs)
      context.registrations.remove(`sidecar ${key}`)
    },
    async stop(graceMs) {
      await app?.stop(graceMs)
      context.registrations.remove(`app ${key}`)
    },
  }
}

/** What a sidecar has told. */
interface Held {
  addresses?: ProxyAddresses
  certificate?: HeldCertificate
  rotations: number
}

async function placeApp(
  { app, ports }: WorkloadPlan,
  random: () => number,
): Promise<Readonly<Record<string, string>>> {
  if (app.kind === 'address') return app.addresses
  const free = await freePorts(ports.length, random)
  return Object.fromEntries(ports.map(({ port }, index) => [port, `127.0.0.1:${free[index]}`]))
}

function keepSidecar(
  plan: WorkloadPlan,
  wanted: SidecarPlan,
  app: Readonly<Record<string, string>>,
  held: Held,
  context: WorkloadContext,
): KeptProcess {
  const { key, namespace, name, spiffeId } = plan
  const logs = join(context.state.path, 'logs', `${namespace}.${name}`)
  return keepProcess(
    {
      name: 'sidecar',
      workload: key,
      onChange: context.onChange,
      async start() {
        const { outbound, admin, metrics, readiness } = held.addresses ?? wanted
        const inbound = held.addresses?.inbound ?? {} // After a restart: where it was.
        const configuration: ProxyProcessConfig = {
          logFile: `${logs}.sidecar.log`,
          accessLogFile: `${logs}.access.log`,
          accessLog: wanted.accessLog,
          trustDomain: context.trustDomain,
          workload: { namespace, name },
          agentSocket: context.agentSocket,
          policyAddress: context.policyAddress(),
          policyId: context.policyId,
          drainMs: DRAIN_MS,
          outbound,
          admin,
          metrics,
          readiness,
          ...(wanted.sourceAddress === undefined ? {} : { sourceAddress: wanted.sourceAddress }),
          inbound: Object.entries(wanted.inbound).map(([port, listen]) => ({
            port: Number(port),
            listen: inbound[port] ?? listen,
            app: app[port] ?? '',
          })),
          folder: context.cwd,
          gateway: (wanted.gateway ?? []).map(({ port, listen }) => ({
            port,
            listen: inbound[port] ?? listen,
          })),
        }
        const title = `the sidecar of ${key}`
        const child = await startEntryPoint('proxy', title, configuration, context, (event) =>
          take(event as ProxyEvent, key, held, context),
        )
        context.registrations.set(`sidecar ${key}`, child, spiffeId)
        return child
      },
      async serve(child, signal) {
        const ready = (await orAborted(child.ready, signal)) as ProxyReady
        held.addresses = ready.addresses
        take({ kind: 'certificate', certificate: ready.certificate }, key, held, context)
      },
    },
    context,
  )
}

function take(
  event: ProxyEvent,
  workload: string,
  held: Held,
  { tell, onChange }: WorkloadContext,
): void {
  if (event.kind === 'certificate') {
    const { serial, notAfter } = event.certificate
    const before = held.certificate?.serial
    held.certificate = event.certificate
    if (before === undefined || before === serial) return
    held.rotations += 1
    const detail = `serial ${serial}, until ${notAfter}`
    tell({ event: 'rotated', workload, detail, facts: { serial, notAfter } })
    onChange()
    return
  }
  const { count, from, method, path, status, reason } = event.denied
  const times = count > 1 ? ` (${count} times)` : ''
  const who = from === '' ? 'a caller without a certificate' : from
  tell({
    event: 'denied',
    workload,
    detail: `${method} ${path} from ${who}: ${reason}${times}`,
    facts: { count, from, method, path, status, reason },
  })
}

function keepApp(
  plan: WorkloadPlan,
  { command, env, cwd }: Extract<AppPlan, { kind: 'run' }>,
  addresses: Readonly<Record<string, string>>,
  held: Held,
  context: WorkloadContext,
): KeptProcess {
  const { key, namespace, name, ports, spiffeId } = plan
  const real = Object.fromEntries(
    Object.entries(addresses).map(([port, at]) => [port, Number(at.split(':').at(-1))]),
  )
  return keepProcess(
    {
      name: 'app',
      workload: key,
      onChange: context.onChange,
      async start(): Promise<Child> {
        const child = await startChild(
          {
            title: `the app of ${key}`,
            command,
            cwd,
            logFile: join(context.state.path, 'logs', `${namespace}.${name}.app.log`),
            env: appEnvironment({
              ports,
              real,
              own: env,
              inherited: context.env,
              ...(held.addresses ? { outbound: held.addresses.outbound } : {}),
            }),
          },
          context,
        )
        context.registrations.set(`app ${key}`, child, spiffeId)
        return child
      },
      serve: (_child, signal) =>
        orAborted(untilReady(plan.ready, addresses, context.clock, signal), signal),
    },
    context,
  )
}
