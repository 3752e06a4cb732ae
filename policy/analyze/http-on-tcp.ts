/** HTTP attributes where nobody reads HTTP: on TCP (§1.8). */
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
    return [draftOf(asking, `${portsText(tcp)} speaks TCP`, hint)]
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

function draftOf({ policy, index }: Asking, what: string, hint: string): Draft {
  const effect =
    policy.action === 'ALLOW'
      ? 'there it allows nothing'
      : 'there they are left out, and it matches every connection that the rest of it matches'
  const message = `rule ${index} asks for HTTP attributes and ${what}: ${effect}`
  const path = ['spec', 'rules', index]
  return { code: 'RDB0011', subject: subjectOf('AuthorizationPolicy', policy), path, message, hint }
}

function isTcp({ protocol }: Pick<InboundPort, 'protocol'>): boolean {
  return protocol === 'tcp' || protocol === 'tls'
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
