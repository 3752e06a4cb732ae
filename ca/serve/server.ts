/** The CA's gRPC server on its own TLS listener. */
import { Server, ServerCredentials } from '@grpc/grpc-js'
import type { TLSSocket } from 'node:tls'

import type { Clock } from '#core/clock.ts'
import { assertIssued } from '../authorities/tainted.ts'
import { CaError } from '../error.ts'
import type { Denials } from '../issue/denials.ts'
import { AdministrationService } from '../proto/gen/admin.ts'
import { CertificateAuthorityService } from '../proto/gen/ca.ts'
import { findDenied, peerChain } from '../x509/index.ts'
import { type AdminCallDeps, administrationCalls } from './administration.ts'
import { type CallDeps, caCalls } from './calls.ts'
import { istioCalls, istioService } from './istio.ts'
import {
  listenTls,
  type TlsListener,
  type TlsListenOptions,
  type VerifiedPeer,
} from './listen-tls.ts'

/** Bytes of one message from a caller with a certificate: 500 requests of 2 KiB, RSA-4096 included. */
const MAX_MESSAGE_BYTES = 1024 * 1024

/** Bytes of one message from a caller without: a join token and one request. */
const MAX_ATTEST_BYTES = 16 * 1024

/** Milliseconds that a connection without a certificate lasts: time enough to attest, and no more. */
const ANONYMOUS_MS = 30_000

/** Calls at a time on one connection. */
const MAX_STREAMS = 100

/** Milliseconds between denying a peer and cutting it off: the list is on its way to it, and no answer. */
const LAST_WORD_MS = 250

/** Milliseconds that calls in progress get when the CA closes. */
const DRAIN_MS = 2000

export interface CaServerDeps
  extends Omit<CallDeps & AdminCallDeps, 'peerOf' | 'closing'>,
    Pick<TlsListenOptions, 'listen' | 'identity'> {
  readonly clock: Clock
  readonly denials: Denials
}

/**
 * Listens. Callers without a certificate may only attest, and get a server with the smaller limit.
 *
 * Each connection is given a name in place of its remote address; grpc-js gives it back at each
 * call (`call.getPeer()`), which is how a call finds the peer that the listener verified.
 *
 * @throws {CaError} `CA_LISTEN_FAILED`
 */
export async function serveCa(deps: CaServerDeps): Promise<TlsListener> {
  const closing = new AbortController()
  const peers = new Map<string, Caller>()
  const callDeps = {
    ...deps,
    closing: closing.signal,
    async peerOf(connection: string) {
      const caller = peers.get(connection)
      if (!caller) return undefined
      if ('denied' in caller) throw deniedError(caller.denied)
      const { peer, socket } = caller
      assertNotDenied(peer, deps)
      await assertIssued(deps, { ...peer, leafDer: () => peerChain(socket)[0] })
      return peer
    },
  }
  const known = grpcServer(callDeps, MAX_MESSAGE_BYTES)
  const unknown = grpcServer(callDeps, MAX_ATTEST_BYTES)
  const sockets = new Set<TLSSocket>()
  let count = 0
  const take = (socket: TLSSocket, caller: Caller | undefined): void => {
    if (closing.signal.aborted) return void socket.destroy()
    count += 1
    const name = `connection-${count}`
    nameSocket(socket, name)
    sockets.add(socket)
    if (caller) peers.set(name, caller)
    socket.on('close', () => {
      sockets.delete(socket)
      peers.delete(name)
    })
    const isKnown = caller !== undefined && 'peer' in caller
    if (!isKnown) endAfter(ANONYMOUS_MS, socket, deps.clock)
    const { injector } = isKnown ? known : unknown
    injector.injectConnection(socket)
  }

  const listener = await listenTls({
    ...deps,
    bundles: () => [{ ...deps.bundle.current, denies: deps.denials.denies() }],
    clientCertificate: 'optional',
    alpn: ['h2'],
    onConnection: (socket, peer) => take(socket, peer && { peer, socket }),
    onDenied: (socket, denied) => take(socket, { denied }),
  })
  void endDenied(deps, listener, closing.signal)
  return {
    address: listener.address,
    refresh: listener.refresh,
    async [Symbol.asyncDispose]() {
      closing.abort()
      for (const { server } of [known, unknown]) server.tryShutdown(() => undefined)
      await drain(sockets, deps.clock)
      for (const { server } of [known, unknown]) server.forceShutdown()
      await listener[Symbol.asyncDispose]()
    },
  }
}

/** Who is behind a connection: somebody, or one who is to hear why it is nobody. */
type Caller =
  | { readonly peer: VerifiedPeer; readonly socket: TLSSocket }
  | { readonly denied: string }

/** Nobody who is denied is answered, on a connection from before either. */
function assertNotDenied(peer: VerifiedPeer, { denials, now }: CaServerDeps): void {
  const denied = findDenied(denials.denies(), peer, now())
  if (!denied) return
  throw deniedError(`the ${denied.kind} ${denied.value} is on the deny-list`)
}

function deniedError(detail: string): CaError {
  const what = detail.startsWith('the spiffe-id')
    ? `its identity was revoked (${detail}): nobody has it until that is undone (redoubt ca revoke --undo)`
    : `its certificate was revoked (${detail}); attest again with a join token or other evidence`
  return new CaError('CA_CALLER_UNKNOWN', `Cannot answer the caller: ${what}`)
}

/** Ends the connections of those who are denied, once they have been told: an agent then proves itself anew. */
async function endDenied(
  { denials, clock }: CaServerDeps,
  { refresh }: TlsListener,
  signal: AbortSignal,
): Promise<void> {
  for await (const _ of denials.list.changes(signal)) {
    await clock.sleep(LAST_WORD_MS, signal).then(refresh, () => undefined) // it closes: all end
  }
}

function grpcServer(deps: CallDeps & AdminCallDeps, maxBytes: number) {
  const server = new Server({
    'grpc.max_receive_message_length': maxBytes,
    'grpc.max_concurrent_streams': MAX_STREAMS,
    'grpc.enable_channelz': 0, // nobody asks; each call would be counted
  })
  server.addService(CertificateAuthorityService, caCalls(deps))
  server.addService(AdministrationService, administrationCalls(deps))
  server.addService(istioService, istioCalls(deps))
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure())
  return { server, injector }
}

function nameSocket(socket: TLSSocket, name: string): void {
  Object.defineProperty(socket, 'remoteAddress', { value: name })
  Object.defineProperty(socket, 'remotePort', { value: undefined })
}

function endAfter(ms: number, socket: TLSSocket, clock: Clock): void {
  const closed = new AbortController()
  socket.once('close', () => closed.abort())
  clock.sleep(ms, closed.signal).then(
    () => socket.destroy(),
    () => undefined, // closed before
  )
}

/**
 * Waits until each connection has closed, which it does once its last call is answered, or until
 * patience ends. The callback of grpc-js's `tryShutdown` is no help: on injected connections it
 * comes at once.
 */
async function drain(sockets: ReadonlySet<TLSSocket>, clock: Clock): Promise<void> {
  const patience = new AbortController()
  const closed = Promise.all(
    [...sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve))),
  )
  const tired = clock.sleep(DRAIN_MS, patience.signal).catch(() => undefined) // all closed before
  await Promise.race([closed, tired])
  patience.abort()
}
