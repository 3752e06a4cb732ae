import { assembleInbound } from '../assemble/inbound.ts'
import { type AuthorizationExport, exportAuthorization } from '../casbin/index.ts'
import type { InboundBundle, Intent } from '../model/index.ts'

/** An export with what is decided before Casbin is asked. */
export interface WorkloadExport extends AuthorizationExport {
  /** `namespace/name` */
  readonly workload: string
  readonly trustDomains: readonly string[]
  readonly pathNormalization: InboundBundle['pathNormalization']
  readonly ports: readonly Pick<InboundBundle['ports'][number], 'port' | 'protocol' | 'mtls'>[]
}

/** What decides at `namespace/name`; `undefined` when there is no such workload, or it has no sidecar. */
export function exportWorkload(intent: Intent, key: string): WorkloadExport | undefined {
  const workload = intent.workloads.find((one) => `${one.namespace}/${one.name}` === key)
  if (workload?.sidecar !== true) return undefined
  const ports = workload.ports.map((port) => ({ ...port, address: '' }))
  const bundle = assembleInbound(intent, { ...workload, ports })
  return {
    workload: key,
    trustDomains: [bundle.trustDomain, ...bundle.trustDomainAliases],
    pathNormalization: bundle.pathNormalization,
    ports: bundle.ports.map(({ port, protocol, mtls }) => ({ port, protocol, mtls })),
    ...exportAuthorization({ ...bundle, policies: bundle.authorization }),
  }
}
