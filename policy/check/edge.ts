/** A query to a port that strangers connect to, as the policies of a gateway see it (istio-semantics §7.4). */
import type { GatewayPort } from '../assemble/gateway-ports.ts'
import type { CheckQuery } from './query.ts'

/** What the gateway says itself, whatever a client says; other names that are ours no policy sees anyway. */
const OURS = /^(x-forwarded-(for|proto)|x-request-id|x-envoy-attempt-count)$/
/** Of no request: it is drawn anew for each. */
const ANY_REQUEST_ID = '00000000-0000-4000-8000-000000000000'

/** `query` with the headers that the gateway at `port` makes of them. @param sourceIp - whom it sees */
export function queryAtEdge(
  query: CheckQuery,
  { servers }: GatewayPort,
  sourceIp: string,
): CheckQuery {
  const said = Object.entries(query.headers ?? {}).map(
    ([name, lines]) => [name.toLowerCase(), lines] as const,
  )
  const forwardedFor = said.flatMap(([name, lines]) => (name === 'x-forwarded-for' ? lines : []))
  const isSecure = servers[0]?.tls !== undefined
  const headers = {
    ...Object.fromEntries(said.filter(([name]) => !OURS.test(name))),
    'x-forwarded-for': [[...forwardedFor, sourceIp].join(',')],
    'x-forwarded-proto': [isSecure ? 'https' : 'http'],
    'x-request-id': [ANY_REQUEST_ID],
  }
  return { ...query, headers }
}
