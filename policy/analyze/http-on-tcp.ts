/** HTTP attributes where there is no HTTP (§1.8). */
import type { InboundPort, Rule, Workload } from '../model/index.ts'
import { asksHttp } from './covers.ts'
import type { Draft } from './finding.ts'
import { type Scene, sidecarPolicies, subjectOf } from './scene.ts'
import { namesPort } from './too-broad.ts'

/** RDB0011 */
export function findHttpOnTcp(scene: Scene): readonly Draft[] {
  return sidecarPolicies(scene).flatMap((intent) => {
    const { policy } = intent
    const ports = scene.selected(intent).flatMap((workload) => {
      return scene.bundleOf(workload).ports.map((port) => ({ workload, port }))
    })
    return policy.rules.flatMap((rule, index): readonly Draft[] => {
      if (!asksHttp(rule)) return []
      const concerned = ports.filter(({ port }) => namesPort(rule, port.port))
      const tcp = concerned.filter(({ port }) => isTcp(port))
      if (tcp.length === 0) return []
      // An ALLOW rule for all ports is meant for those that speak HTTP, if there is one.
      if (policy.action === 'ALLOW' && tcp.length < concerned.length && !asksPort(rule)) return []
      const where = portsText(tcp)
      return [
        {
          code: 'RDB0011',
          subject: subjectOf('AuthorizationPolicy', policy),
          path: ['spec', 'rules', index],
          message:
            policy.action === 'ALLOW'
              ? `rule ${index} asks for HTTP attributes and ${where} speaks TCP: there it allows nothing`
              : `rule ${index} asks for HTTP attributes and ${where} speaks TCP: there they are left out, and it matches every connection that the rest of it matches`,
          hint: 'limit the rule to HTTP ports with operation.ports, or name the port http-… in its Service if it speaks HTTP',
        },
      ]
    })
  })
}

type InboundPortOf = ReturnType<Scene['bundleOf']>['ports'][number]

function isTcp({ protocol }: Pick<InboundPort, 'protocol'>): boolean {
  return protocol === 'tcp' || protocol === 'tls'
}

function asksPort({ to = [], when = [] }: Rule): boolean {
  return to.some(({ ports }) => ports) || when.some(({ key }) => key === 'destination.port')
}

function portsText(
  found: readonly { readonly workload: Workload; readonly port: InboundPortOf }[],
): string {
  const names = found.map(
    ({ workload, port }) => `${workload.namespace}/${workload.name}:${port.port}`,
  )
  const shown = names.slice(0, 3).join(', ')
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown
}
