/**
 * The TLS listener of our gRPC servers: the CA's own, and the policy server's.
 *
 * Node's own judgement of client certificates is off (`rejectUnauthorized: false`), because it
 * knows one clock, one set of roots and no SPIFFE. In its place stands exactly one function,
 * {@link admitPeer}; no byte of a connection is read before it has said yes. No SNI or ALPN
 * callback exists that could throw or choose a laxer context, and no session can be resumed:
 * a resumed handshake shows no certificate to judge.
 */
import { constants } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { createServer, type Server, type TLSSocket, type TlsOptions } from 'node:tls'

import type { Log } from '#core/log.ts'
import { CaError } from '../error.ts'
import {
  deniedBy,
  type PeerVerdict,
  peerChain,
  type TrustBundle,
  verifySvid,
} from '../x509/index.ts'

/** What a server shows of itself. */
export interface TlsIdentity {
  /** Leaf first, without the root. */
  readonly chainPem: string
  /** PKCS#8. */
  readonly keyPem: string
}

/** A peer whose certificate was verified. */
export type VerifiedPeer = PeerVerdict & { readonly kind: 'ok' }

export interface TlsListenOptions {
  /** Port 0 takes a free one. */
  readonly listen: { readonly host: string; readonly port: number }
  /** Asked at the start and at each {@link TlsListener.refresh}. While there is none, no handshake succeeds. */
  readonly identity: () => TlsIdentity | undefined
  /** Asked at each connection. */
  readonly bundles: () => readonly TrustBundle[]
  readonly now: () => Temporal.Instant
  readonly log: Log
  /** `optional`: a caller without a certificate is let in as nobody; one with a bad one never is. */
  readonly clientCertificate: 'required' | 'optional'
  /** Protocols, best first; a caller that offers none of them is refused. */
  readonly alpn: readonly string[]
  /** `peer` is `undefined` only where the certificate is optional and none came. */
  readonly onConnection: (socket: TLSSocket, peer: VerifiedPeer | undefined) => void
  /**
   * Given the connection of a peer that is nobody because of the deny-list alone, to tell it so; `detail`
   * says what is denied. Left out: it is closed without a word, like all that are refused.
   */
  readonly onDenied?: (socket: TLSSocket, detail: string) => void
}

/** Disposing stops listening and ends every connection. */
export interface TlsListener extends AsyncDisposable {
  /** `host:port`, with the port that was taken. */
  readonly address: string
  /**
   * Makes new connections see the current identity. Those that exist go on, except with a peer that the
   * bundles of now deny: they end here and now.
   */
  readonly refresh: () => void
}

/** Key exchange, best first: hybrid post-quantum, then what older peers have. */
export const TLS_GROUPS = 'X25519MLKEM768:X25519:P-256'

/** Milliseconds for a handshake; a peer that dawdles holds a socket and nothing else. */
const HANDSHAKE_TIMEOUT_MS = 10_000

/** Open connections; a mesh has one or two from each node. */
const MAX_CONNECTIONS = 4096

/**
 * Listens with TLS 1.3 and hands over each connection whose peer was verified.
 *
 * @throws {CaError} `CA_LISTEN_FAILED` if the address cannot be had
 */
export async function listenTls(options: TlsListenOptions): Promise<TlsListener> {
  const { listen, log } = options
  const server = createServer(tlsOptions(options))
  const open = new Set<Socket>()
  const judged: Judged = new Map()
  const track = (socket: Socket): void => {
    open.add(socket)
    socket.on('close', () => open.delete(socket))
  }
  server.maxConnections = MAX_CONNECTIONS
  server.on('connection', track) // From the first byte: one may be closed amid its handshake.
  server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
    log('debug', 'tls-handshake-failed', { reason: error.code, peer: socket.remoteAddress })
    socket.destroy()
  })
  server.on('secureConnection', (socket) => {
    track(socket)
    admit(options, socket, judged)
  })
  await bind(server, listen)
  server.on('error', (error) => log('error', 'tls-listener-failed', { detail: error.message }))
  return {
    address: addressOf(server),
    refresh() {
      server.setSecureContext(tlsOptions(options))
      closeDenied(options, judged)
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of open) socket.destroy()
      await closed
    },
  }
}

function tlsOptions({ identity, alpn }: TlsListenOptions): TlsOptions {
  const shown = identity()
  return {
    ...(shown && { cert: shown.chainPem, key: shown.keyPem }),
    ca: [], // Roots of the web have no say.
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
    ecdhCurve: TLS_GROUPS,
    ALPNProtocols: [...alpn],
    secureOptions: constants.SSL_OP_NO_TICKET,
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
  }
}

/** Connections with a peer that has a certificate. */
type Judged = Map<TLSSocket, VerifiedPeer>

function closeDenied({ bundles, now, log }: TlsListenOptions, judged: Judged): void {
  const trusted = bundles()
  for (const [socket, peer] of judged) {
    const denied = deniedBy(trusted, peer, now())
    if (!denied) continue
    log('warn', 'tls-peer-denied', { id: peer.id, ...denied })
    socket.destroy()
  }
}

/** Whatever goes wrong in judging ends the connection: there is no path on which it stays open unjudged. */
function admit(options: TlsListenOptions, socket: TLSSocket, judged: Judged): void {
  const { log, onConnection } = options
  socket.on('error', (error) => log('debug', 'tls-connection-failed', { detail: error.message }))
  try {
    const verdict = admitPeer(options, socket)
    if (verdict?.kind !== 'refused') {
      if (verdict) {
        judged.set(socket, verdict)
        socket.once('close', () => judged.delete(socket))
      }
      onConnection(socket, verdict)
      return
    }
    const { reason, detail } = verdict
    log('warn', 'tls-peer-refused', { reason, detail, peer: socket.remoteAddress })
    if (reason === 'denied' && options.onDenied) return options.onDenied(socket, detail)
  } catch (cause) {
    log('error', 'tls-peer-not-judged', { detail: String(cause) })
  }
  socket.destroy()
}

type Admission = PeerVerdict | { readonly kind: 'refused'; reason: string; detail: string }

function admitPeer(options: TlsListenOptions, socket: TLSSocket): Admission | undefined {
  const { alpn, bundles, now, clientCertificate } = options
  if (socket.isSessionReused()) {
    return { kind: 'refused', reason: 'session-reused', detail: 'the session was resumed' }
  }
  if (typeof socket.alpnProtocol !== 'string' || !alpn.includes(socket.alpnProtocol)) {
    return { kind: 'refused', reason: 'alpn', detail: `expected one of ${alpn.join(', ')}` }
  }
  const chain = peerChain(socket)
  if (chain.length === 0 && clientCertificate === 'optional') return undefined
  return verifySvid(chain, bundles(), now(), 'client')
}

async function bind(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<void> {
  try {
    server.listen(port, host)
    await once(server, 'listening')
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    const why = BIND_FAULTS[code ?? ''] ?? message
    throw new CaError('CA_LISTEN_FAILED', `Cannot listen on ${host}:${port}: ${why}`, { cause })
  }
}

const BIND_FAULTS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another process has the port; choose another, or 0 for a free one',
  EADDRNOTAVAIL: 'this machine does not have the address',
  EACCES: 'the port needs a privilege that this user does not have; choose one from 1024',
}

function addressOf(server: Server): string {
  const { address, port, family } = server.address() as AddressInfo
  return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`
}
