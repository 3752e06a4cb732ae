/**
 * TLS of strangers, which ends at the gateway (istio-semantics §7.2): certificates of the operator's own, and
 * clients judged by a CA of the operator's. The mesh's certificates and roots have no part in it.
 *
 * No resumption, as everywhere: a resumed handshake shows no certificate.
 */
import { constants } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { resolve } from 'node:path'
import { createServer, type SecureContextOptions, type Server, type TLSSocket } from 'node:tls'
import type { Log } from '#core/log.ts'
import type { GatewayServer, GatewayTls, PemSource } from '#policy/model/index.ts'

export interface TerminatorDeps {
  readonly nowMs: () => number
  readonly log: Log
  /** Where relative paths start. */
  readonly folder: string
  /** The handshake is done and the client accepted; nothing has been read. */
  readonly onSecure: (socket: TLSSocket) => void
}

/** Takes TLS off a connection whose first bytes are put back. Closes it when nothing can be shown. */
export type Terminator = (socket: Socket) => Promise<void>

/** Istio's, for the handshake at a gateway (§7.4). */
const HANDSHAKE_TIMEOUT_MS = 15_000
/** Files are looked at again with the first connection after so many milliseconds. */
const REREAD_MS = 5_000

/** TLS 1.3 has suites of its own, all of them good. */
const TLS13 = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256'
/** Of TLS 1.2 those that keep secrets when a key is lost. */
const TLS12 =
  'ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305'

/**
 * Ends the TLS of one server. What files hold is read when the first client comes, and again from time to time;
 * what cannot be used is logged and changes nothing.
 */
export function createTerminator(
  { name }: Pick<GatewayServer, 'name'>,
  tls: GatewayTls,
  deps: TerminatorDeps,
): Terminator {
  const { nowMs, log, folder } = deps
  let server: Server | undefined
  let shown = ''
  let readMs = Number.NEGATIVE_INFINITY
  let reading = Promise.resolve()

  async function read(): Promise<void> {
    try {
      const options = await contextOf(tls, folder)
      const next = JSON.stringify(options)
      if (next === shown) return
      if (server === undefined) server = serverOf(options, name, tls, deps)
      else server.setSecureContext(options)
      shown = next
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause)
      log('warn', 'gateway-credentials-unusable', { server: name, why })
    }
  }

  return async (socket) => {
    if (nowMs() - readMs >= REREAD_MS) {
      readMs = nowMs()
      reading = read()
    }
    await reading
    if (server === undefined || socket.destroyed) return void socket.destroy()
    server.emit('connection', socket)
  }
}

function serverOf(
  options: SecureContextOptions,
  name: string,
  tls: GatewayTls,
  { log, onSecure }: TerminatorDeps,
): Server {
  const server = createServer({
    ...options,
    requestCert: tls.mode !== 'SIMPLE',
    // Judged below, where it can be said whom and why.
    rejectUnauthorized: false,
    ALPNProtocols: ['http/1.1'],
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    allowHalfOpen: true,
  })
  server.on('secureConnection', (socket) => {
    const why = clientFault(socket, tls)
    if (why === undefined) return onSecure(socket)
    socket.on('error', () => {})
    socket.destroy()
    log('warn', 'gateway-client-refused', { server: name, why })
  })
  server.on('tlsClientError', (_cause, socket) => void socket.destroy())
  return server
}

/** Why the client is not let in. */
function clientFault(socket: TLSSocket, tls: GatewayTls): string | undefined {
  if (tls.mode === 'SIMPLE') return undefined
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) {
    return tls.mode === 'MUTUAL' ? 'it shows no certificate' : undefined
  }
  if (!socket.authorized) return String(socket.authorizationError)
  const { subjectAltNames } = tls
  if (subjectAltNames.length === 0) return undefined
  const names = namesOf(certificate.subjectAltName ?? '')
  const isTaken = names.some((one) => subjectAltNames.includes(one))
  return isTaken ? undefined : 'no name in its certificate is among subjectAltNames'
}

/** Node quotes a name, as JSON does, when it could be taken for more than one. */
const NAME = /(?:^|, )(?:DNS|URI|email|IP Address):("(?:[^"\\]|\\.)*"|[^,"]*)/g

function namesOf(written: string): readonly string[] {
  return [...written.matchAll(NAME)].map(([, name = '']) =>
    name.startsWith('"') ? String(JSON.parse(name)) : name,
  )
}

async function contextOf(tls: GatewayTls, folder: string): Promise<SecureContextOptions> {
  const pem = (source: PemSource, wanted: 'CERTIFICATE' | 'KEY') => pemOf(source, wanted, folder)
  const roots = tls.clientCa === undefined ? [] : [tls.clientCa]
  const [cert, key, ca] = await Promise.all([
    Promise.all(tls.certificates.map((one) => pem(one.chain, 'CERTIFICATE'))),
    Promise.all(tls.certificates.map((one) => pem(one.key, 'KEY'))),
    Promise.all(roots.map((one) => pem(one, 'CERTIFICATE'))),
  ])
  return {
    cert,
    key,
    // Never left out: the system's roots would vouch for clients.
    ca,
    ciphers: `${TLS13}:${tls.cipherSuites.length === 0 ? TLS12 : tls.cipherSuites.join(':')}`,
    minVersion: tls.minVersion,
    maxVersion: tls.maxVersion,
    honorCipherOrder: true,
    secureOptions: constants.SSL_OP_NO_TICKET,
  }
}

/** @throws {Error} on a source without what is wanted: an empty list of roots would be the system's */
async function pemOf(
  source: PemSource,
  wanted: 'CERTIFICATE' | 'KEY',
  folder: string,
): Promise<string> {
  if (source.kind === 'missing') {
    throw new Error(
      `the Secret ${source.secret} of the gateway's namespace is not there, or has no entry for it`,
    )
  }
  const pem =
    source.kind === 'inline' ? source.pem : await readFile(resolve(folder, source.path), 'utf8')
  if (new RegExp(`^-----BEGIN [A-Z ]*${wanted}-----`, 'm').test(pem)) return pem
  const where = source.kind === 'inline' ? 'the Secret' : source.path
  throw new Error(`${where} has no PEM block ${wanted}`)
}
