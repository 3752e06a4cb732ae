/** Routes, destination rules and services, where what they name does not exist or does not count. */
import { isDeepStrictEqual } from 'node:util'

import { findHost } from '../assemble/registry.ts'
import { isExportedTo, selects } from '../assemble/select.ts'
import { suggest } from '../dialects/suggest.ts'
import type { DestinationRule, Intent, VirtualService, Workload } from '../model/index.ts'
import type { Draft, Subject } from './finding.ts'
import { isRecord, namesOf, type Scene, subjectOf } from './scene.ts'

/** IST0101, IST0112 */
export function findDestinations({ intent }: Scene): readonly Draft[] {
  return intent.virtualServices.flatMap((service) =>
    service.http.flatMap(({ action }, index) =>
      action.kind === 'forward'
        ? action.destinations.flatMap((destination, at) => {
            const path = ['spec', 'http', index, 'route', at, 'destination']
            return destinationDrafts(intent, service, destination, path)
          })
        : [],
    ),
  )
}

function destinationDrafts(
  intent: Intent,
  service: VirtualService,
  {
    host,
    subset,
    port,
  }: { readonly host: string; readonly subset?: string; readonly port?: number },
  path: Draft['path'],
): readonly Draft[] {
  const subject = subjectOf('VirtualService', service)
  const found = findHost(intent, host, service.namespace)
  if (!found) {
    const meant = suggest(
      host,
      intent.services.map((one) => one.host),
    )
    const hint = meant ? `did you mean ${meant}?` : 'define it as a Service or ServiceEntry'
    const message = `the host ${host} does not exist, so these requests are answered 503`
    return [{ code: 'IST0101', subject, path: [...path, 'host'], message, hint }]
  }
  const rules = intent.destinationRules.filter((rule) => rule.host === host)
  const subsets = rules.flatMap((rule) => rule.subsets.map(({ name }) => name))
  if (subset !== undefined && !subsets.includes(subset)) {
    const meant = suggest(subset, subsets)
    const hint = meant
      ? `did you mean ${JSON.stringify(meant)}?`
      : `define it in a DestinationRule for ${host}`
    const message = `no DestinationRule for ${host} has the subset ${JSON.stringify(subset)}`
    return [{ code: 'IST0101', subject, path: [...path, 'subset'], message, hint }]
  }
  if (port !== undefined || found.ports.length < 2) return []
  const ports = found.ports.map((one) => one.port).join(', ')
  const message = `${host} has several ports (${ports}) and the destination names none`
  return [{ code: 'IST0112', subject, path, message, hint: 'add port: { number: … }' }]
}

/** IST0109 */
export function findConflictingHosts({ intent }: Scene): readonly Draft[] {
  const forSidecars = intent.virtualServices.filter(({ gateways }) => gateways.includes('mesh'))
  return forSidecars.flatMap((service, at) =>
    service.hosts.flatMap((host, index): readonly Draft[] => {
      const other = forSidecars
        .slice(0, at)
        .find((one) => one.hosts.includes(host) && seeEachOther(one, service))
      if (!other) return []
      const message = `${other.namespace}/${other.name} has the host ${host} too: only one of them counts`
      const hint =
        'put both routes into one VirtualService, or export each to namespaces of its own'
      const subject = subjectOf('VirtualService', service)
      return [{ code: 'IST0109', subject, path: ['spec', 'hosts', index], message, hint }]
    }),
  )
}

function seeEachOther(a: VirtualService, b: VirtualService): boolean {
  if (a.exportTo.includes('*') || b.exportTo.includes('*')) {
    return a.exportTo.length > 0 && b.exportTo.length > 0
  }
  return a.exportTo.some((namespace) => isExportedTo(b.exportTo, namespace))
}

/** IST0130, IST0131 */
export function findUnreachableRoutes({ intent }: Scene): readonly Draft[] {
  return intent.virtualServices.flatMap((service) =>
    service.http.flatMap((route, index): readonly Draft[] => {
      const subject = subjectOf('VirtualService', service)
      const earlier = service.http.slice(0, index)
      const all = earlier.findIndex(({ match }) => match === undefined || match.some(isEmpty))
      if (all !== -1) {
        const message = `route ${index} is never reached: route ${all} takes every request`
        const hint = 'move the route without a match to the end'
        return [{ code: 'IST0130', subject, path: ['spec', 'http', index], message, hint }]
      }
      const before = earlier.flatMap(({ match = [] }) => match).map(withoutName)
      const { match: matches = [] } = route
      const late = matches.map((match) =>
        before.some((one) => isDeepStrictEqual(one, withoutName(match))),
      )
      // A route that loses its last match takes everything.
      const isCertain = late.includes(false)
      return late.flatMap((isLate, at): readonly Draft[] => {
        if (!isLate) return []
        const path = ['spec', 'http', index, 'match', at]
        const message = `the match has no effect: an earlier route has it already`
        const found = { code: 'IST0131', subject, path, message, hint: 'remove it' } as const
        return [{ ...found, ...(isCertain ? { fix: { kind: 'remove', path } } : {}) }]
      })
    }),
  )
}

function withoutName<T extends { readonly name?: string }>({ name: _name, ...rest }: T): object {
  return rest
}

function isEmpty(match: { readonly name?: string }): boolean {
  return Object.keys(withoutName(match)).length === 0
}

/** IST0149 */
export function findClaimRoutes(scene: Scene): readonly Draft[] {
  const verifiesNone = scene.ofKind('RequestAuthentication').length === 0
  return scene.ofKind('VirtualService').flatMap((service): readonly Draft[] => {
    const path = claimPath(service.value)
    if (!path) return []
    const unread = gatewaysOf(scene, service).filter(
      (workload) => scene.bundleOf(workload).tokenRules.length === 0,
    )
    if (!verifiesNone && unread.length === 0) return []
    const where = unread.length === 0 ? '' : ` at ${namesOf(unread)}`
    const message = `the route asks for claims of a token, and no RequestAuthentication verifies any${where}`
    const hint = 'add a RequestAuthentication for the gateway; without it the route is never taken'
    return [{ code: 'IST0149', subject: service, path, message, hint }]
  })
}

/** The workloads that are gateways by what a VirtualService names. */
function gatewaysOf({ intent }: Scene, { namespace, name }: Subject): readonly Workload[] {
  const bound = intent.virtualServices.find(
    (one) => one.namespace === namespace && one.name === name,
  )
  const gateways = intent.gateways.filter((one) =>
    bound?.gateways.includes(`${one.namespace}/${one.name}`),
  )
  return intent.workloads.filter((workload) =>
    gateways.some(({ selector }) => selects(selector, workload.labels)),
  )
}

function claimPath(value: Readonly<Record<string, unknown>>): Draft['path'] | undefined {
  const list = (of: unknown): readonly unknown[] => (Array.isArray(of) ? of : [])
  const spec = isRecord(value['spec']) ? value['spec'] : {}
  for (const [index, route] of list(spec['http']).entries()) {
    for (const [at, match] of list(isRecord(route) ? route['match'] : []).entries()) {
      for (const field of ['headers', 'withoutHeaders']) {
        const headers = isRecord(match) && isRecord(match[field]) ? match[field] : {}
        const name = Object.keys(headers).find((one) => one.startsWith('@request.auth.claims'))
        if (name) return ['spec', 'http', index, 'match', at, field, name]
      }
    }
  }
  return undefined
}

/** IST0173, IST0174 */
export function findDestinationRules(scene: Scene): readonly Draft[] {
  const { intent } = scene
  return intent.destinationRules.flatMap((rule): readonly Draft[] => {
    const subject = subjectOf('DestinationRule', rule)
    const isWild = rule.host.startsWith('*')
    if (!isWild && !findHost(intent, rule.host, rule.namespace)) {
      const meant = suggest(
        rule.host,
        intent.services.map((one) => one.host),
      )
      const hint = meant ? `did you mean ${meant}?` : 'define it as a Service or ServiceEntry'
      const message = `the host ${rule.host} is no service: the rule applies to nothing`
      return [{ code: 'IST0174', subject, path: ['spec', 'host'], message, hint }]
    }
    return scene.hasInventory ? emptySubsets(intent, rule) : []
  })
}

function emptySubsets(intent: Intent, rule: DestinationRule): readonly Draft[] {
  const service = intent.services.find(({ host }) => host === rule.host)
  if (!service?.selector) return []
  const behind = intent.workloads.filter(
    ({ namespace, labels }) => namespace === service.namespace && selects(service.selector, labels),
  )
  return rule.subsets.flatMap(({ name, labels }, index): readonly Draft[] => {
    if (behind.length === 0 || behind.some((one) => selects(labels, one.labels))) return []
    const message = `no workload of ${rule.host} is in subset ${JSON.stringify(name)}: requests to it are answered 503`
    const path = ['spec', 'subsets', index]
    const hint = 'label the workloads so, or correct the labels of the subset'
    return [{ code: 'IST0173', subject: subjectOf('DestinationRule', rule), path, message, hint }]
  })
}

/** IST0118 */
export function findPortNames({ intent }: Scene): readonly Draft[] {
  return intent.services.flatMap((service) =>
    service.ports.flatMap(({ name, port, protocol }, index): readonly Draft[] => {
      if (protocol !== 'auto') return []
      const written = name === '' ? 'has no name' : `is called ${JSON.stringify(name)}`
      const message = `port ${port} ${written}, which tells no protocol: it is detected at each connection`
      const hint = 'name it http-…, grpc-…, tcp-… or set appProtocol'
      const path = ['spec', 'ports', index]
      return [{ code: 'IST0118', subject: subjectOf('Service', service), path, message, hint }]
    }),
  )
}

/** IST0177 */
export function findEntryProtocols({ intent: { serviceEntries } }: Scene): readonly Draft[] {
  return serviceEntries.flatMap((entry, at) =>
    entry.ports.flatMap(({ port, protocol }, index): readonly Draft[] => {
      const other = serviceEntries
        .slice(0, at)
        .find(
          ({ hosts, ports }) =>
            hosts.some((host) => entry.hosts.includes(host)) &&
            ports.some((one) => one.port === port && one.protocol !== protocol),
        )
      if (!other) return []
      const message = `${other.namespace}/${other.name} gives port ${port} of the same host another protocol`
      const path = ['spec', 'ports', index, 'protocol']
      const hint = 'give both the same protocol'
      return [{ code: 'IST0177', subject: subjectOf('ServiceEntry', entry), path, message, hint }]
    }),
  )
}
