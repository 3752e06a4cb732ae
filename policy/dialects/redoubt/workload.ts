/** Kind `Workload`: an application process and its sidecar, standalone (design.md §2). */
import { z } from 'zod'

import type { ReadinessProbe, WorkloadApp, WorkloadPort } from '../../model/intent.ts'
import { dnsLabelFault, fqdnFault, isIp, labelNameFault } from '../grammar.ts'
import { defineKind, type Kind } from '../kind.ts'
import { refOf } from '../metadata.ts'
import { fields, type Report, text } from '../schema.ts'

const INJECT = 'sidecar.istio.io/inject'

const port = z.int().min(1).max(65535)
const portRef = z.union([port, text(dnsLabelFault)])

const workloadPort = fields({ name: text(dnsLabelFault).optional(), port })

const run = fields({
  command: z.array(z.string()).min(1),
  env: z.record(z.string(), z.string()).optional(),
  cwd: z.string().min(1).optional(),
})

const ready = fields(
  {
    httpGet: fields({ path: text(pathFault).optional(), port: portRef.optional() }).optional(),
    tcp: fields({ port: portRef.optional() }).optional(),
  },
  {
    check: (value, report) => {
      if (Object.keys(value).length !== 1) report([], 'expected one of httpGet and tcp')
    },
  },
)

const proxy = fields({
  outbound: port.optional(),
  inbound: z.record(z.string(), port).optional(),
  admin: port.optional(),
  metrics: port.optional(),
  readiness: port.optional(),
})

const spec = fields(
  {
    serviceAccount: text(labelNameFault).optional(),
    ports: z.array(workloadPort).min(1).max(64),
    run: run.optional(),
    address: text(addressFault).optional(),
    ready: ready.optional(),
    sourceAddress: text(sourceAddressFault).optional(),
    proxy: proxy.optional(),
  },
  {
    check: (value, report) => {
      checkPorts(value, report)
      checkApp(value, report)
      checkReady(value, report)
    },
  },
)

type Spec = z.output<typeof spec>

function pathFault(written: string): string | undefined {
  return /^\/[\x21-\x7e]*$/.test(written)
    ? undefined
    : `found ${JSON.stringify(written)}, expected a path that begins with "/"`
}

function addressFault(written: string): string | undefined {
  const { host, port: number } = splitAddress(written)
  const known = isIp(host) || fqdnFault(host) === undefined
  const inRange = number === undefined || (number >= 1 && number <= 65535)
  return known && inRange
    ? undefined
    : `found ${JSON.stringify(written)}, expected where the app listens: an IP address or host name, with or without ":port"`
}

function sourceAddressFault(written: string): string | undefined {
  return isIp(written) && written.startsWith('127.')
    ? undefined
    : `found ${JSON.stringify(written)}, expected an address of 127.0.0.0/8`
}

/** `host`, `host:port`, `[v6]:port` or a bare IPv6 address. */
function splitAddress(written: string): { readonly host: string; readonly port?: number } {
  const [, bracketed, bare, digits] =
    /^(?:\[([^\]]*)\]|([^:]*))(?::(\d{1,5}))?$/.exec(written) ?? []
  const host = bracketed ?? bare ?? written
  return digits === undefined ? { host } : { host, port: Number(digits) }
}

function checkPorts({ ports, proxy: fixed }: Spec, report: Report): void {
  const names = new Set<string>()
  const numbers = new Set<string>()
  ports.forEach(({ name, port: number }, index) => {
    if (name !== undefined && names.has(name)) {
      report(['ports', index, 'name'], `the name ${JSON.stringify(name)} is there twice`)
    }
    if (numbers.has(`${number}`))
      report(['ports', index, 'port'], `the port ${number} is there twice`)
    if (name !== undefined) names.add(name)
    numbers.add(`${number}`)
  })
  for (const key of Object.keys(fixed?.inbound ?? {})) {
    if (!numbers.has(key)) report(['proxy', 'inbound', key], 'the workload has no such port')
  }
}

function checkApp({ run: started, address, ports }: Spec, report: Report): void {
  if (started && address !== undefined) report([], 'both run and address are set: expected one')
  if (address !== undefined && splitAddress(address).port !== undefined && ports.length > 1) {
    report(['address'], 'it has a port, and the workload has several: leave the port out')
  }
}

function checkReady({ ready: probe, ports }: Spec, report: Report): void {
  const [kind, ref] = probe?.httpGet ? ['httpGet', probe.httpGet.port] : ['tcp', probe?.tcp?.port]
  if (ref !== undefined && portOf(ref, ports) === undefined) {
    report(['ready', kind, 'port'], `the workload has no port ${JSON.stringify(ref)}`)
  }
}

function portOf(ref: string | number | undefined, ports: Spec['ports']): number | undefined {
  if (ref === undefined) return ports[0]?.port
  return ports.find(({ name, port: number }) => name === ref || number === ref)?.port
}

export const workloadKind: Kind = defineKind({
  group: 'redoubt.io',
  versions: ['v1alpha1'],
  kind: 'Workload',
  spec,
  check: ({ metadata: { name, namespace } }, report) => {
    const wrong = labelNameFault(name)
    if (wrong !== undefined) report(['metadata', 'name'], wrong)
    if (namespace === 'redoubt-system')
      report(['metadata', 'namespace'], 'the namespace is reserved for the mesh itself')
  },
  warn: ({ spec: { run: started, address } }) =>
    started || address !== undefined
      ? []
      : [
          {
            path: ['spec'],
            message:
              'neither run nor address is set, so the app is expected at 127.0.0.1, but for ports of a Gateway',
          },
        ],
  place: ({ metadata, spec: written, file }) => {
    const probe = readProbe(written)
    const { sourceAddress, proxy: fixed = {} } = written
    return {
      into: 'workloads',
      value: {
        ...refOf(metadata),
        labels: metadata.labels,
        serviceAccount: written.serviceAccount ?? 'default',
        sidecar: metadata.labels[INJECT] !== 'false',
        ports: written.ports.map(
          ({ name = '', port: number }): WorkloadPort => ({ name, port: number }),
        ),
        app: readApp(written, file),
        ...(probe ? { ready: probe } : {}),
        ...(sourceAddress ? { sourceAddress } : {}),
        proxyPorts: {
          inbound: fixed.inbound ?? {},
          ...(fixed.outbound ? { outbound: fixed.outbound } : {}),
          ...(fixed.admin ? { admin: fixed.admin } : {}),
          ...(fixed.metrics ? { metrics: fixed.metrics } : {}),
          ...(fixed.readiness ? { readiness: fixed.readiness } : {}),
        },
      },
    }
  },
})

function readApp({ run: started, address }: Spec, manifest: string): WorkloadApp {
  if (!started) return { kind: 'address', ...splitAddress(address ?? '127.0.0.1') }
  const { command, env = {}, cwd } = started
  return { kind: 'run', command, env, ...(cwd ? { cwd } : {}), manifest }
}

function readProbe({ ready: probe, ports }: Spec): ReadinessProbe | undefined {
  if (probe?.httpGet) {
    const { path = '/', port: ref } = probe.httpGet
    return { kind: 'http', path, port: portOf(ref, ports) ?? 0 }
  }
  return probe?.tcp ? { kind: 'tcp', port: portOf(probe.tcp.port, ports) ?? 0 } : undefined
}
