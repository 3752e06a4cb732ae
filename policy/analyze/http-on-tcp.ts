/** HTTP attributes where nobody reads HTTP: on TCP (§1.8), and for now on HTTP/2 (`proxy/README.md`, Decisions). */
import type { AuthorizationPolicy, InboundPort, Rule, Workload } from '../model/index.ts'
import { asksHttp } from './covers.ts'
import type { Draft } from './finding.ts'
import { type Scene, sidecarPolicies, subjectOf } from './scene.ts'
import { namesPort } from './too-broad.ts'

/** A port of a workload that a policy selects. */
interface Place {
  readonly workload: Workload
  readonly port: ReturnType<Scene['bundleOf']>['ports'][number]
}

interface Asking {
  readonly policy: AuthorizationPolicy
  readonly rule: Rule
  readonly index: number
  /** The ports that the rule is about. */
  readonly concerned: readonly Place[]
}

/** RDB0011 */
export function findHttpOnTcp(scene: Scene): readonly Draft[] {
  return rulesAskingHttp(scene).flatMap((asking): readonly Draft[] => {
    const { policy, rule, concerned } = asking
    const tcp = concerned.filter(({ port }) => isTcp(port))
    if (tcp.length === 0) return []
    // An ALLOW rule for all ports is meant for those that speak HTTP, if there is one.
    if (policy.action === 'ALLOW' && tcp.length < concerned.length && !asksPort(rule)) return []
    const hint =
      'limit the rule to HTTP ports with operation.ports, or name the port http-… in its Service if it speaks HTTP'
    return [draftOf('RDB0011', asking, `${portsText(tcp)} speaks TCP`, hint)]
  })
}

/** RDB0028 */
export function findHttp2(scene: Scene): readonly Draft[] {
  return rulesAskingHttp(scene).flatMap((asking): readonly Draft[] => {
    const places = asking.concerned.filter(({ port }) => isHttp2(port))
    if (places.length === 0) return []
    const what = `${portsText(places)} speaks HTTP/2, which sidecars decide on once a connection`
    const hint =
      'ask for callers alone there: principals, namespaces, ports and addresses are decided on; `authz check` answers for HTTP/2 as Istio would'
    return [draftOf('RDB0028', asking, what, hint)]
  })
}

function rulesAskingHttp(scene: Scene): readonly Asking[] {
  return sidecarPolicies(scene).flatMap((intent) => {
    const { policy } = intent
    const ports = scene.selected(intent).flatMap((workload) => {
      return scene.bundleOf(workload).ports.map((port): Place => ({ workload, port }))
    })
    return policy.rules.flatMap((rule, index): readonly Asking[] => {
      if (!asksHttp(rule)) return []
      const concerned = ports.filter(({ port }) => namesPort(rule, port.port))
      return [{ policy, rule, index, concerned }]
    })
  })
}

function draftOf(
  code: 'RDB0011' | 'RDB0028',
  { policy, index }: Asking,
  what: string,
  hint: string,
): Draft {
  const effect =
    policy.action === 'ALLOW'
      ? 'there it allows nothing'
      : 'there they are left out, and it matches every connection that the rest of it matches'
  const message = `rule ${index} asks for HTTP attributes and ${what}: ${effect}`
  const path = ['spec', 'rules', index]
  return { code, subject: subjectOf('AuthorizationPolicy', policy), path, message, hint }
}

function isTcp({ protocol }: Pick<InboundPort, 'protocol'>): boolean {
  return protocol === 'tcp' || protocol === 'tls'
}

function isHttp2({ protocol }: Pick<InboundPort, 'protocol'>): boolean {
  return protocol === 'http2' || protocol === 'grpc'
}

function asksPort({ to = [], when = [] }: Rule): boolean {
  return to.some(({ ports }) => ports) || when.some(({ key }) => key === 'destination.port')
}

function portsText(found: readonly Place[]): string {
  const names = found.map(
    ({ workload, port }) => `${workload.namespace}/${workload.name}:${port.port}`,
  )
  const shown = names.slice(0, 3).join(', ')
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown
}
