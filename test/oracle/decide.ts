/** What our decision code says: the functions behind `redoubt authz check`, tokens verified as a sidecar does. */
import { compileTokenRules } from '#ca/jwt/request/index.ts'
import { parseSpiffeId } from '#ca/spiffe/index.ts'
import {
  type CheckQuery,
  type CheckResult,
  createTokenChecker,
  type Intent,
  type QueryProtocol,
} from '#policy/index.ts'
import { DESTINATION_IP } from '#test/fakes/running-sidecar.ts'
import { type OracleRequest, withToken } from './cases.ts'

export type Decide = (request: OracleRequest) => Promise<CheckResult>

/** One that answers for `intent`; rejects for an identity that is no SPIFFE ID. */
export function createDecide(intent: Intent): Decide {
  const ask = createTokenChecker(intent, {
    compile: (rules) => compileTokenRules(rules, { now: () => Temporal.Now.instant() }),
    keySetOf: () => undefined,
  })
  return async (request) => ask(queryOf(request))
}

const PROTOCOLS: Readonly<Record<OracleRequest['protocol'], QueryProtocol>> = {
  'http/1.1': 'http1',
  h2: 'http2',
  grpc: 'grpc',
  tcp: 'tcp',
}

function queryOf(request: OracleRequest): CheckQuery {
  const { from, port, protocol, method, host, srcIp = '127.0.0.1', sni } = request
  const { path, headers } = withToken(request)
  const byName = Map.groupBy(headers, ([name]) => name.toLowerCase())
  const lines = [...byName].map(([name, some]) => [name, some.map(([, value]) => value)])
  const isPlain = from === 'none'
  return {
    to: { namespace: 'app', name: 'web-1', port },
    from: isPlain ? undefined : parseSpiffeId(from),
    protocol: PROTOCOLS[protocol],
    ...(method === undefined ? {} : { method }),
    path,
    host: host ?? 'oracle.local',
    headers: Object.fromEntries(lines),
    sourceIp: srcIp,
    destinationIp: DESTINATION_IP,
    ...(isPlain ? {} : { sni: sni ?? `outbound_.${port}_._.oracle.local` }),
  }
}
