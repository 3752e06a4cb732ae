/** TCP and TLS routes of a VirtualService (istio-semantics §5.13). Checked only. */
import { z } from 'zod'

import { isIp, subnetFault } from '../grammar.ts'
import type { Warning } from '../kind.ts'
import { fields, type Report, text } from '../schema.ts'
import { destinationSchema, type RawDestination } from './destination-ref.ts'
import { boundHostFault, checkGateways, hostContains } from './hosts.ts'
import { checkWorkloadLabels, count, maybePort, strings, textMap } from './values.ts'

interface Weighted {
  readonly destination: RawDestination
  readonly weight?: number | undefined
}

interface Match {
  readonly destinationSubnets?: readonly string[] | undefined
  readonly port?: number | undefined
  readonly sourceLabels?: Readonly<Record<string, string>> | undefined
  readonly gateways?: readonly string[] | undefined
  readonly sourceNamespace?: string | undefined
  readonly sniHosts?: readonly string[] | undefined
}

/** A route of either kind. */
export interface Layer4Route {
  readonly match?: readonly Match[] | undefined
  readonly route?: readonly Weighted[] | undefined
}

const conditions = {
  destinationSubnets: z.array(text(subnetFault)).optional(),
  port: maybePort.optional(),
  sourceLabels: textMap.optional(),
  gateways: strings.optional(),
  sourceNamespace: z.string().optional(),
}

const check = {
  check: ({ sourceLabels = {}, gateways }: Match, report: Report): void => {
    checkWorkloadLabels(sourceLabels, ['sourceLabels'], report)
    checkGateways(gateways, report)
  },
}

const route = z.array(fields({ destination: destinationSchema, weight: count.optional() }))

export const tcpRouteSchema: z.ZodType<Layer4Route> = fields(
  {
    match: z
      .array(fields({ ...conditions, sourceSubnet: z.string().optional() }, check))
      .optional(),
    route: route.min(1),
  },
  { check: checkWeights },
)

export const tlsRouteSchema: z.ZodType<Layer4Route> = fields(
  {
    match: z.array(fields({ ...conditions, sniHosts: strings.min(1) }, check)).min(1),
    route: route.min(1),
  },
  { check: checkWeights },
)

function checkWeights(value: Layer4Route, report: Report): void {
  const { route: weighted = [] } = value
  if (weighted.length > 1 && weighted.every(({ weight = 0 }) => weight === 0))
    report(['route'], 'the weights of its destinations are all 0: expected one above it')
}

interface Owner {
  readonly hosts?: readonly string[] | undefined
  readonly gateways?: readonly string[] | undefined
  readonly tls?: readonly Layer4Route[] | undefined
}

/** Server names are names, and of the hosts that the VirtualService is for. */
export function checkServerNames(owner: Owner, report: Report): void {
  const { hosts = [], tls = [] } = owner
  for (const { name, path } of serverNames(tls)) {
    if (isIp(name)) continue
    const wrong =
      boundHostFault(name, owner.gateways, true) ??
      (hosts.some((host) => hostContains(host, name))
        ? undefined
        : `${JSON.stringify(name)} is not one of its hosts`)
    if (wrong !== undefined) report(path, wrong)
  }
}

/** `path` is from the spec. */
function serverNames(tls: readonly Layer4Route[]) {
  return tls.flatMap(({ match = [] }, at) =>
    match.flatMap(({ sniHosts = [] }, block) =>
      sniHosts.map((name, index) => ({
        name,
        path: ['tls', at, 'match', block, 'sniHosts', index],
      })),
    ),
  )
}

/** A client sends no address as a server name. */
export function warnServerNames(tls: readonly Layer4Route[] = []): readonly Warning[] {
  return serverNames(tls).flatMap(({ name, path }) =>
    isIp(name)
      ? [{ path: ['spec', ...path], message: 'an address is no server name: few clients send it' }]
      : [],
  )
}
