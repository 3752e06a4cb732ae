/**
 * Everything between a peer's connection and the app's, in the order that a connection meets it:
 * plaintext or TLS, who the peer is, HTTP or opaque, decided on, forwarded.
 */
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Svid } from '#agent/client/index.ts'
import type { Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import type { ConsultationHost } from '../authorizer/consultation.ts'
import type { AskDeps } from '../authorizer/question.ts'
import { listen, type Listener } from '../capture/listen.ts'
import {
  type InboundDetected,
  inboundDetector,
  MAX_INBOUND_PEEK,
} from '../capture/detect-inbound.ts'
import { peek } from '../capture/peek.ts'
import { type InboundListener, parseAddress } from '../config.ts'
import { plainDial } from '../mesh/dial.ts'
import { Http1Hop } from '../mesh/http1.ts'
import type { OpenConnections } from '../stack/open-connections.ts'
import type { TimerWheel } from '../stack/timer-wheel.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { ALPN, FOREIGN_ALPN, SERVER_ALPN } from '../tls/parameters.ts'
import { createTlsTerminator } from '../tls/server.ts'
import { lifeMs } from '../tls/verify-peer.ts'
import type { WatchedPeers } from '../tls/watch-peers.ts'
import {
  type InboundConfiguration,
  isHttpPort,
  type PortRules,
  rulesOfPort,
} from './inbound-port.ts'
import { createOpaqueCarrier } from './opaque.ts'
import { type PeerOptions, peerOf, plaintextPeer } from './peer.ts'
import { createTaker } from './take-connection.ts'

export interface InboundDeps {
  readonly svid: Live<Svid>
  readonly configuration: () => InboundConfiguration | undefined
  readonly connections: OpenConnections
  readonly peers: WatchedPeers
  readonly wheel: TimerWheel
  readonly now: () => Temporal.Instant
  readonly nowMs: () => number
  readonly random: () => number
  readonly log: Log
  readonly telemetry: Telemetry
  /** The way to external providers. */
  readonly ask: AskDeps
}

/** Milliseconds that PERMISSIVE waits for bytes that tell TLS from plaintext. */
const DETECT_TIMEOUT_MS = 10_000
/** Apps are on this host: they answer at once or are not there. */
const APP_CONNECT_TIMEOUT_MS = 5_000
/** Below Node's 5 s, the shortest common keep-alive of a server that does not say its own. */
const APP_IDLE_MS = 4_000

/** Guards one port of the app. */
export async function listenInbound(
  { port, listen: address, app }: InboundListener,
  deps: InboundDeps,
): Promise<Listener> {
  const { connections, wheel, random, log, nowMs, telemetry } = deps
  const rules = rulesOfPort(port, deps.configuration)
  const target = parseAddress(app)
  const limits = { wheel, connectTimeoutMs: APP_CONNECT_TIMEOUT_MS }
  const hop = new Http1Hop({
    dial: plainDial(target, limits),
    wheel,
    nowMs,
    maxConnections: Number.MAX_SAFE_INTEGER,
    maxPending: Number.MAX_SAFE_INTEGER,
    maxRequestsPerConnection: 0,
    idleTimeoutMs: APP_IDLE_MS,
  })
  const terminate = createTlsTerminator({
    svid: deps.svid,
    aliases: () => deps.configuration()?.bundle.trustDomainAliases ?? [],
    now: deps.now,
    alpn: () => SERVER_ALPN,
    peers: deps.peers,
    onPeer(socket, peer) {
      const current = rules()
      if (current === undefined) return void socket.destroy()
      const known = peerOf(socket, peer, peerOptions())
      const life = lifeMs(peer.notAfter, deps.now())
      const spoken = spokenIn(socket, current)
      if (spoken !== 'look') return take(spoken, socket, { peer: known, rules: current, life })
      tell(socket, { ...current, mtls: 'DISABLE' }, ({ kind }, head) =>
        take(kind, socket, { peer: known, rules: current, life, head }),
      )
    },
    onRefused: (_socket, why) => log('warn', 'inbound-peer-refused', { port, ...why }),
  })

  const upstream = { host: app, cluster: `inbound|${port}||` }
  const asking = { ask: deps.ask, onAnswer: noteAnswers(deps) }
  const requests = { app: hop, upstream, rules, random, nowMs, telemetry, ...asking }
  const carryOpaque = createOpaqueCarrier({ ...deps, ...asking, port, target, upstream })
  const take = createTaker({ ...deps, requests, app: { target, ...limits }, carryOpaque })
  const peerOptions = (): PeerOptions => ({ own: deps.svid.current.id, port, telemetry })

  function tell(
    socket: Socket,
    current: Pick<PortRules, 'mtls' | 'protocol'>,
    onDetected: (detected: InboundDetected, head: Buffer) => void,
  ): void {
    peek(socket, {
      wheel,
      timeoutMs: DETECT_TIMEOUT_MS,
      detect: inboundDetector(current),
      // What a port that takes HTTP does not tell, its codec does.
      otherwise: { kind: isHttpPort(current) ? 'http' : 'opaque' },
      maxBytes: MAX_INBOUND_PEEK,
      onDetected,
    })
  }

  function accept(socket: Socket): void {
    const current = rules()
    if (current === undefined) return void socket.destroy()
    const heard = connections.accept(socket)
    if (current.mtls === 'STRICT') {
      heard()
      return terminate(socket)
    }
    tell(socket, current, (detected, head) => {
      heard()
      if (detected.kind === 'mesh-tls') {
        socket.unshift(head)
        return terminate(socket)
      }
      const sni = detected.kind === 'foreign-tls' ? detected.sni : undefined
      const peer = plaintextPeer(socket, { ...peerOptions(), sni })
      if (detected.kind === 'foreign-tls' && isHttpPort(current)) return void socket.destroy()
      take(detected.kind, socket, { peer, rules: current, head })
    })
  }

  return listen(address, accept)
}

/** At most one line a second for each provider that cannot be asked. */
const FAILURE_LOG_MS = 1000

/** Counts what providers answer, and says when one cannot be asked. */
export function noteAnswers({
  telemetry,
  log,
  nowMs,
}: Pick<InboundDeps, 'telemetry' | 'log' | 'nowMs'>): ConsultationHost['onAnswer'] {
  const saidMs = new Map<string, number>()
  return (provider, answer, detail) => {
    telemetry.countAnswer(provider, answer)
    if (answer === 'allow' || answer === 'deny') return
    const last = saidMs.get(provider) ?? Number.NEGATIVE_INFINITY
    if (nowMs() - last < FAILURE_LOG_MS) return
    saidMs.set(provider, nowMs())
    log('warn', 'authz-provider-failed', { provider, answer, why: detail })
  }
}

/** What is inside a TLS connection, by what its peer said (istio-semantics §2.4); or its first bytes tell. */
function spokenIn({ alpnProtocol }: TLSSocket, rules: PortRules): InboundDetected['kind'] | 'look' {
  if (rules.protocol === 'tcp' || rules.protocol === 'tls') return 'opaque'
  if (alpnProtocol === ALPN.http1) return 'http'
  if (alpnProtocol === ALPN.http2) return 'http2'
  if (!isHttpPort(rules)) return 'opaque'
  if (alpnProtocol === FOREIGN_ALPN.http2) return 'http2'
  // What says nothing of HTTP is read all the same.
  return alpnProtocol === FOREIGN_ALPN.http1 ? 'http' : 'look'
}
