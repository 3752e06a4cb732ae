/** Opaque TCP: one decision a connection, on what is known without reading it, and then bytes. */
import { connect, type Socket } from 'node:net'
import type { Log } from '#core/log.ts'
import type { AskProvider, Decide, Decision } from '#policy/model/index.ts'
import type { ConsultationHost } from '../authorizer/consultation.ts'
import type { AskDeps } from '../authorizer/question.ts'
import type { PlainTarget } from '../mesh/dial.ts'
import type { OpenConnections } from '../stack/open-connections.ts'
import { joinSockets } from '../stack/tunnel.ts'
import { denialReason } from '../telemetry/access-log-line.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { connectionRecord } from './connection-record.ts'
import type { PortRules } from './inbound-port.ts'
import type { Peer } from './peer.ts'

export interface OpaqueDeps {
  readonly connections: OpenConnections
  readonly nowMs: () => number
  readonly log: Log
  readonly telemetry: Telemetry
  /** The way to external providers. */
  readonly ask: AskDeps
  readonly onAnswer: ConsultationHost['onAnswer']
  /** The workload port. */
  readonly port: number
  /** The app, and how records name it. */
  readonly target: PlainTarget
  readonly upstream: { readonly host: string; readonly cluster: string }
}

/** Carries a connection on, or ends it. `head`: bytes that were read before. */
export type CarryOpaque = (socket: Socket, peer: Peer, rules: PortRules, head?: Buffer) => void

type Settled = Exclude<Decision, AskProvider>

/** A connection that waits for its decision. */
interface Waiting {
  readonly socket: Socket
  readonly peer: Peer
  readonly rules: PortRules
  readonly decide: Decide
  readonly startMs: number
  readonly head: Buffer | undefined
}

/** Makes {@link CarryOpaque} for one port. */
export function createOpaqueCarrier(deps: OpaqueDeps): CarryOpaque {
  return (socket, peer, rules, head) => {
    const decide = peer.decide(rules)
    const decision = decide(undefined)
    const waiting = { socket, peer, rules, decide, startMs: deps.nowMs(), head }
    socket.on('error', () => {})
    if (decision.kind === 'ask') consult(waiting, decision, deps)
    else settle(waiting, decision, deps)
  }
}

/** Bytes wait until all providers have answered. */
function consult(waiting: Waiting, decision: AskProvider, deps: OpaqueDeps): void {
  const { socket, peer, rules } = waiting
  const { ask, onAnswer } = deps
  const { providers } = rules.configuration
  // The engine asks only whom the bundle has.
  if (providers === undefined) return void socket.destroy()
  const onClose = (): void => giveUp()
  socket.pause()
  socket.once('close', onClose)
  const asking = { question: { ...peer, http: undefined }, deps: ask, onAnswer }
  const giveUp = providers.consultConnection(decision, asking, (settled) => {
    socket.removeListener('close', onClose)
    settle(waiting, settled, deps)
  })
}

function settle(waiting: Waiting, decision: Settled, deps: OpaqueDeps): void {
  const { socket, peer, rules, decide, startMs, head } = waiting
  const { telemetry, upstream, target, connections, nowMs } = deps
  const isCarried = decision.kind === 'allow'
  const decisionId = isCarried ? '' : noteDenied(peer, decision, decide, deps)
  const known = { peer, rules, decision, decisionId, startMs, isCarried, upstream }
  const record = telemetry.logsConnection(decision) ? connectionRecord(known) : undefined
  if (!isCarried) {
    if (record !== undefined) telemetry.logConnection(record)
    return void socket.destroy()
  }
  const app = connect({ ...target, noDelay: true, allowHalfOpen: true })
  if (head !== undefined) app.write(head)
  const remove = connections.addTunnel(() => socket.destroy())
  const count = telemetry.openTunnel(peer.edge(rules).labels)
  joinSockets(socket, app, (end) => {
    const [sent, received] = [end.sent + (head?.length ?? 0), end.received]
    remove()
    count({ fromDownstream: sent, toDownstream: received })
    if (record === undefined) return
    record.durationMs = nowMs() - startMs
    record.bytesReceived = sent
    record.bytesSent = received
    telemetry.logConnection(record)
  })
}

/** @returns the denial's id */
function noteDenied(
  { connection }: Peer,
  decision: Extract<Settled, { readonly kind: 'deny' }>,
  decide: Decide,
  { telemetry, log, port }: OpaqueDeps,
): string {
  const { peer } = connection
  const id = telemetry.noteDenial({ decision, connection, decide, attributes: undefined })
  log('info', 'inbound-connection-denied', { port, peer, id, why: denialReason(decision) })
  return id
}
