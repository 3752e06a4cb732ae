/** Traffic that was seen, decided anew by the plain evaluator under other policies. */
import { assembleInbound } from '../assemble/inbound.ts'
import { evaluateAuthorization } from '../evaluate/index.ts'
import { type Engine, type Intent, normalizePath } from '../model/index.ts'
import type { Observation } from './read-log.ts'

export interface Replay {
  /** Requests that were decided. */
  readonly requests: number
  /** Those of them that would be refused. */
  readonly denied: readonly Observation[]
}

/**
 * Decides each request that was let through under `policies` and no others, each in force. Addresses,
 * headers and claims are not in an access log, so no policy that asks for them can be held against it.
 */
export function replay(
  intent: Intent,
  policies: Intent['authorizationPolicies'],
  observations: readonly Observation[],
): Replay {
  const engines = new Map<string, Engine>()
  const engineOf = (name: string): Engine | undefined => {
    const workload = intent.workloads.find((one) => `${one.namespace}/${one.name}` === name)
    if (!workload) return undefined
    const ports = workload.ports.map((port) => ({ ...port, address: '' }))
    const bundle = assembleInbound(
      { ...intent, authorizationPolicies: policies },
      { ...workload, ports },
    )
    const engine = evaluateAuthorization({ ...bundle, policies: bundle.authorization })
    engines.set(name, engine)
    return engine
  }
  const allowed = observations.filter(({ decision }) => decision === 'allow')
  return {
    requests: allowed.reduce((total, { requests }) => total + requests, 0),
    denied: allowed.filter((one) => {
      const engine = engines.get(one.workload) ?? engineOf(one.workload)
      return !engine || !isAllowed(engine, one, intent)
    }),
  }
}

function isAllowed(
  engine: Engine,
  { protocol, workload, port, caller, method, target, host }: Observation,
  { workloads, mesh }: Intent,
): boolean {
  const found = workloads.find((one) => `${one.namespace}/${one.name}` === workload)
  const connection = {
    peer: caller,
    sourceIp: '127.0.0.1',
    destinationIp: '127.0.0.1',
    destinationPort: port ?? found?.ports[0]?.port ?? 0,
    sni: undefined,
  }
  if (protocol === 'tcp') return engine(connection)(undefined).kind === 'allow'
  const path = normalizePath(target, mesh.pathNormalization)
  if (path.kind === 'refused') return false
  const decision = engine(connection)({
    method,
    path: path.path,
    host,
    remoteIp: connection.sourceIp,
    header: () => [],
    claims: undefined,
  })
  return decision.kind === 'allow'
}
