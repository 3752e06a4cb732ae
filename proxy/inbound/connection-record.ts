/** The record of an opaque connection, for its one line in the access log. */
import type { Decision } from '#policy/model/index.ts'
import { RequestRecord } from '../telemetry/record.ts'
import type { PortRules } from './inbound-port.ts'
import type { Peer } from './peer.ts'

/** What is known of a connection when it has been decided on. */
export interface DecidedConnection {
  readonly peer: Peer
  readonly rules: PortRules
  readonly decision: Decision
  readonly decisionId: string
  readonly startMs: number
  readonly isCarried: boolean
  /** Where it was carried to, or would have been. */
  readonly upstream: { readonly host: string; readonly cluster: string }
}

/** The record, with its length still to come. */
export function connectionRecord(known: DecidedConnection): RequestRecord {
  const { peer, rules, decision, decisionId, startMs, isCarried, upstream } = known
  const record = new RequestRecord(peer.edge(rules), startMs)
  record.protocol = 'TCP'
  record.downstreamRemoteAddress = peer.remoteAddress
  record.downstreamLocalAddress = peer.localAddress
  record.sni = peer.connection.sni ?? ''
  record.decision = decision
  record.decisionId = decisionId
  record.upstreamCluster = upstream.cluster
  if (isCarried) {
    record.attempts = 1
    record.upstreamHost = upstream.host
  }
  return record
}
