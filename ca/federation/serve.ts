/** Our bundle endpoint (SPIFFE Federation §5): GET / gives the newest bundle to anybody. */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { SecureContextOptions } from 'node:tls'

import type { Clock } from '#core/clock.ts'
import type { Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import { CaError } from '../error.ts'
import { TLS_GROUPS, type TlsIdentity } from '../serve/listen-tls.ts'
import type { TrustBundle } from '../x509/index.ts'
import { writeBundleDocument } from './document.ts'

/** Our endpoint, as an operator wants it. */
export interface EndpointConfig {
  /** Port 0 takes a free one. */
  readonly listen: { readonly host: string; readonly port: number }
  /**
   * Whether other CAs of this trust domain, on this machine and of this user, listen there, too: the kernel
   * gives each caller to one that runs. @default false
   */
  readonly shared?: boolean
  /** Seconds after which others look again. @default 300 */
  readonly refreshHint?: number
  readonly profile: /** The certificate of the CA's own listener, `…/ns/redoubt-system/sa/redoubt-ca`. */
    | { readonly kind: 'https_spiffe' }
    /** A certificate of the Web PKI, PEM files that are read again when they change. */
    | { readonly kind: 'https_web'; readonly certificateFile: string; readonly keyFile: string }
}

export interface EndpointDeps {
  readonly bundle: Live<TrustBundle>
  /** The CA's own certificate; `undefined` while it has none. */
  readonly identity: () => TlsIdentity | undefined
  readonly clock: Clock
  readonly log: Log
}

export interface Endpoint extends AsyncDisposable {
  /** `host:port`. */
  readonly address: string
}

/** Mozilla's "intermediate", which every server of a bundle must meet; TLS 1.3's are all in it. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':')

const MAX_CONNECTIONS = 256
const REQUEST_MS = 5000

/** Milliseconds between two looks at the certificate. */
const LOOK_MS = 5000

const DEFAULT_HINT_S = 300

/**
 * Serves the bundle.
 *
 * @throws {CaError} `CA_LISTEN_FAILED`, `CA_CONFIG_INVALID` if the certificate cannot be used
 */
export async function serveEndpoint(config: EndpointConfig, deps: EndpointDeps): Promise<Endpoint> {
  const { refreshHint = DEFAULT_HINT_S } = config
  let shown = await contextOf(config, deps)
  const server = newServer(shown, (request, response) =>
    answer(request, response, () => writeBundleDocument(deps.bundle.current, refreshHint)),
  )
  await bind(server, config)
  const ended = new AbortController()
  const refresh = async (): Promise<void> => {
    const next = await contextOf(config, deps)
    if (next.cert === shown.cert && next.key === shown.key) return
    server.setSecureContext({ ...TLS, ...next })
    shown = next
    deps.log('info', 'bundle-endpoint-certificate-renewed')
  }
  const looking = look(refresh, deps, ended.signal)
  const { address, port, family } = server.address() as AddressInfo
  return {
    address: family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`,
    async [Symbol.asyncDispose]() {
      ended.abort()
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
      await looking
    },
  }
}

const TLS = { minVersion: 'TLSv1.2', ciphers: CIPHERS, ecdhCurve: `${TLS_GROUPS}:P-384` } as const

function newServer(
  context: SecureContextOptions,
  respond: (request: IncomingMessage, response: ServerResponse) => void,
): Server {
  const server = createServer({ ...TLS, ...context, requestCert: false }, respond)
  server.maxConnections = MAX_CONNECTIONS
  server.requestTimeout = REQUEST_MS
  server.headersTimeout = REQUEST_MS
  server.keepAliveTimeout = 1000
  server.on('tlsClientError', (_, socket) => socket.destroy())
  return server
}

function answer(
  { method, url }: IncomingMessage,
  response: ServerResponse,
  document: () => string,
): void {
  if (url !== '/') return void response.writeHead(404).end()
  if (method !== 'GET' && method !== 'HEAD') {
    return void response.writeHead(405, { allow: 'GET, HEAD' }).end()
  }
  const body = Buffer.from(document())
  response.writeHead(200, {
    'content-type': 'application/json',
    'content-length': body.length,
    'cache-control': 'no-store',
  })
  response.end(method === 'HEAD' ? undefined : body)
}

async function contextOf(
  { profile }: EndpointConfig,
  { identity }: EndpointDeps,
): Promise<{ readonly cert: string; readonly key: string }> {
  if (profile.kind === 'https_web') {
    const [cert, key] = await Promise.all([read(profile.certificateFile), read(profile.keyFile)])
    return { cert, key }
  }
  const own = identity()
  if (own) return { cert: own.chainPem, key: own.keyPem }
  throw new CaError('CA_SIGNER_UNAVAILABLE', 'Cannot serve the bundle: the CA has no certificate')
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    throw new CaError(
      'CA_CONFIG_INVALID',
      `Cannot serve the bundle with ${file}: ${(cause as Error).message}`,
      { cause },
    )
  }
}

async function look(
  refresh: () => Promise<void>,
  { clock, log }: EndpointDeps,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(LOOK_MS, signal).catch(() => {}) // Only an abort rejects.
    if (signal.aborted) return
    await refresh().catch((cause: unknown) => {
      // The one that it has goes on being shown.
      log('error', 'bundle-endpoint-certificate-refused', { detail: String(cause) })
    })
  }
}

async function bind(server: Server, { listen, shared = false }: EndpointConfig): Promise<void> {
  const { host, port } = listen
  try {
    server.listen({ host, port, reusePort: shared })
    await once(server, 'listening')
  } catch (cause) {
    const { message } = cause as Error
    throw new CaError(
      'CA_LISTEN_FAILED',
      `Cannot serve the bundle on ${host}:${port}: ${message}`,
      { cause },
    )
  }
}
