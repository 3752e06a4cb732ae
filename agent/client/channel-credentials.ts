import { connect as connectTls, type TLSSocket } from 'node:tls'
import { ChannelCredentials, credentials } from '@grpc/grpc-js'
import type { SpiffeId } from '#ca/spiffe/index.ts'
import {
  deniedBy,
  type PeerVerdict,
  peerChain,
  type TrustBundle,
  verifySvid,
} from '#ca/x509/index.ts'
import type { Live } from '#core/live.ts'
import { AgentError } from '../error.ts'
import type { Svid } from './svid.ts'

export interface SvidChannelCredentialsOptions {
  /** Who we are; read anew at each connect. `undefined`: connect without a certificate. */
  readonly svid: Live<Pick<Svid, 'chainPem' | 'keyPem'>> | undefined
  /** What the server is judged by; read anew at each connect. */
  readonly bundles: () => readonly TrustBundle[]
  /**
   * When it changes, connections that are open are judged again, and end if their server is denied.
   *
   * @default `svid`, whose bundles say what is denied
   */
  readonly judgeAgain?: Live<unknown>
  /** The one identity the server must prove. */
  readonly serverId: SpiffeId
  readonly now: () => Temporal.Instant
  /** Told of each server that was not who it must be, before the connection fails. */
  readonly onRefused?: (refusal: Refused) => void
}

type Refused = PeerVerdict & { readonly kind: 'refused' }

/**
 * gRPC channel credentials over mTLS with SVIDs.
 *
 * OpenSSL's own verdict is not asked (it has its own clock and knows no SPIFFE ID):
 * {@link verifySvid} runs on the finished handshake, before the socket is handed to HTTP/2.
 * A connection that is open stays open when the SVID rotates; the next one uses the new one.
 */
export function svidChannelCredentials(options: SvidChannelCredentialsOptions): ChannelCredentials {
  return new SvidChannelCredentials(options)
}

type SecureConnector = ReturnType<ChannelCredentials['_createSecureConnector']>
type RawSocket = Parameters<SecureConnector['connect']>[0]

// A class because grpc-js has no other way in; its underscored methods are what it calls for its own
// subclasses. Pinned by test/agent/client.
class SvidChannelCredentials extends ChannelCredentials {
  readonly #options: SvidChannelCredentialsOptions

  constructor(options: SvidChannelCredentialsOptions) {
    super()
    this.#options = options
  }

  override _isSecure(): boolean {
    return true
  }

  /** Never shares a connection with other credentials, not even with equal ones. */
  override _equals(other: ChannelCredentials): boolean {
    return this === other
  }

  override _createSecureConnector(
    _target: unknown,
    _options: unknown,
    callCredentials = credentials.createEmpty(),
  ): SecureConnector {
    return {
      connect: async (socket) => ({ socket: await secure(this.#options, socket), secure: true }),
      waitForReady: () => Promise.resolve(),
      getCallCredentials: () => callCredentials,
      destroy: () => {},
    }
  }
}

function secure(options: SvidChannelCredentialsOptions, socket: RawSocket): Promise<TLSSocket> {
  const svid = options.svid?.current
  return new Promise((resolve, reject) => {
    const tls = connectTls({
      socket,
      // Judged by `judge` below, which is the only way to `resolve`.
      rejectUnauthorized: false,
      ...(svid && { cert: svid.chainPem, key: svid.keyPem }),
      minVersion: 'TLSv1.3',
      ecdhCurve: 'X25519MLKEM768:X25519:P-256',
      ALPNProtocols: ['h2'],
    })
    const fail = (cause: Error): void => {
      tls.destroy()
      reject(cause)
    }
    tls.once('error', fail)
    tls.once('close', () => fail(new Error('the connection was closed during the handshake')))
    tls.once('secureConnect', () => {
      const peer = judge(options, tls)
      if (peer instanceof AgentError) return fail(peer)
      tls.removeListener('error', fail)
      void endWhenDenied(options, tls, peer)
      resolve(tls)
    })
  })
}

type Server = PeerVerdict & { readonly kind: 'ok' }

function judge(
  { bundles, serverId, now, onRefused }: SvidChannelCredentialsOptions,
  tls: TLSSocket,
): Server | AgentError {
  const refused = (why: string): AgentError =>
    new AgentError('AGENT_SVID_INVALID', `Cannot trust the server: ${why}`)
  if (tls.alpnProtocol !== 'h2') return refused('it does not speak HTTP/2')
  if (tls.isSessionReused()) return refused('it resumed a session, which proves no identity')
  const verdict = verifySvid(peerChain(tls), bundles(), now(), 'server')
  if (verdict.kind === 'refused') {
    onRefused?.(verdict)
    return refused(`${verdict.reason}: ${verdict.detail}`)
  }
  if (verdict.id !== serverId) return refused(`it is "${verdict.id}", expected "${serverId}"`)
  return verdict
}

async function endWhenDenied(
  { judgeAgain, svid, bundles, now }: SvidChannelCredentialsOptions,
  tls: TLSSocket,
  server: Server,
): Promise<void> {
  const closed = new AbortController()
  tls.once('close', () => closed.abort())
  const changes: Live<unknown> | undefined = judgeAgain ?? svid
  if (!changes) return
  for await (const _ of changes.changes(closed.signal)) {
    if (deniedBy(bundles(), server, now())) tls.destroy()
  }
}
