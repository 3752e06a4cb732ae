import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'

import { peerChain } from '#ca/x509/index.ts'

/** What to dial, and how to present ourselves. */
export interface Endpoint {
  readonly host: string
  readonly port: number
  /** Server name to ask for; left out, the host where it is a name. */
  readonly sni?: string
  /** Protocols to offer, best first. */
  readonly alpn?: readonly string[]
  /** PEM, for servers that show less to strangers. */
  readonly client?: { readonly cert: string; readonly key: string }
}

/** What a TLS server showed. Nothing of it has been verified. */
export interface Shown {
  readonly kind: 'shown'
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[]
  /** `TLSv1.3`, … */
  readonly protocol: string
  readonly cipher: string
  /** Key exchange, e.g. `X25519MLKEM768`; `null` where Node does not tell. */
  readonly group: string | null
  readonly alpn: string | null
}

/**
 * Shakes hands with a TLS server, keeps what it showed, and hangs up without sending a byte.
 *
 * No server is trusted here: certificates are looked at, so the judgement comes after
 * (`judgeChain`), which is also what a sidecar does. TLS 1.2 is offered so that an old server can
 * be looked at too.
 */
export function fetchChain(
  endpoint: Endpoint,
  signal: AbortSignal,
): Promise<Shown | { readonly kind: 'failed'; readonly why: string }> {
  return new Promise((resolve) => {
    const socket = connect(optionsFor(endpoint))
    const finish = (result: Shown | { kind: 'failed'; why: string }): void => {
      signal.removeEventListener('abort', abort)
      socket.destroySoon() // after what the handshake still has to send
      resolve(result)
    }
    const abort = (): void => finish({ kind: 'failed', why: 'it did not answer in time' })
    signal.addEventListener('abort', abort)
    socket.on('error', (cause: NodeJS.ErrnoException) =>
      finish({ kind: 'failed', why: whyFailed(cause) }),
    )
    socket.once('close', () => finish({ kind: 'failed', why: 'it hung up during the handshake' }))
    socket.once('secureConnect', () => finish(shownBy(socket)))
    if (signal.aborted) abort()
  })
}

function optionsFor({ host, port, sni, alpn, client }: Endpoint): ConnectionOptions {
  const servername = sni ?? (/^[\d.]+$|:/.test(host) ? undefined : host)
  return {
    host,
    port,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.2',
    ...(servername !== undefined && { servername }),
    ...(alpn && { ALPNProtocols: [...alpn] }),
    ...client,
  }
}

function shownBy(socket: TLSSocket): Shown {
  const group = socket.getEphemeralKeyInfo()
  return {
    kind: 'shown',
    chain: peerChain(socket),
    protocol: socket.getProtocol() ?? 'unknown',
    cipher: socket.getCipher().standardName,
    group: (group && 'name' in group ? group.name : null) ?? null,
    alpn: socket.alpnProtocol || null,
  }
}

/** OpenSSL's and the kernel's words, in ours. */
const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'its name is not known',
  EAI_AGAIN: 'its name could not be looked up',
  ECONNRESET: 'it hung up during the handshake',
  EPIPE: 'it hung up during the handshake',
  ETIMEDOUT: 'it did not answer in time',
  EHOSTUNREACH: 'there is no way there',
  ENETUNREACH: 'there is no way there',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'it does not speak TLS',
  ERR_SSL_NO_APPLICATION_PROTOCOL: 'it speaks none of the protocols offered with --alpn',
  ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL:
    'it speaks none of the protocols offered with --alpn',
}

function whyFailed({ code = '', message }: NodeJS.ErrnoException): string {
  return REASONS[code] ?? message.replace(/[^\x20-\x7e]/g, '?').slice(0, 200)
}
