/** A running sidecar: the production data plane on real sockets, with the bundle as it comes over the wire. */
import { once } from 'node:events'
import { createServer, connect as connectPlain, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Svid } from '#agent/client/index.ts'
import { createLive } from '#core/live.ts'
import { assembleInbound, type Intent } from '#policy/index.ts'
import { openDataPlane } from '../../proxy/data-plane.ts'
import type { Destination } from '../../proxy/outbound/destination.ts'
import type { InboundConfiguration } from '../../proxy/inbound/inbound-port.ts'
import { compileInbound } from '../../proxy/sync/compile.ts'
import { createTelemetry } from '../../proxy/telemetry/telemetry.ts'
import { cluster, compiledDestination, destinationBundle, realClock } from './fake-sidecars.ts'
import { createFakeIssuer, type FakeIssuer } from './fake-svid.ts'
import { createHttp2App, exchangeHttp2, isHttp2 } from './sidecar-http2.ts'

/** The address at which it listens. */
export const DESTINATION_IP = '127.64.0.1'

/** One connection, and what is sent on it. */
export interface SidecarRequest {
  /** A SPIFFE ID, `none` for plaintext, `nocert`, or `badca:` and a SPIFFE ID. */
  readonly from: string
  /** The workload's. */
  readonly port: number
  readonly protocol: 'http/1.1' | 'h2' | 'grpc' | 'tcp'
  /** @default GET */
  readonly method?: string
  /** @default `/` */
  readonly path?: string
  readonly host?: string
  readonly headers?: readonly (readonly [name: string, value: string])[]
  readonly srcIp?: string
  readonly sni?: string
  /** What the client offers. @default what a sidecar offers for `protocol` */
  readonly alpn?: readonly string[]
  /** latin1; with its length. */
  readonly body?: string
  /** Instead of a request or of the line that TCP sends. */
  readonly raw?: string
}

/** What came back: an HTTP status, bytes that are not HTTP, or nothing; `unsendable`: the client cannot say it. */
export interface Seen {
  readonly kind: 'http' | 'tcp' | 'closed' | 'unsendable'
  readonly status?: number
  /** From the app's answer: the target that it was sent. */
  readonly forwardedPath?: string
  /** The head that the app was sent, read as UTF-8. */
  readonly forwardedHead?: string
  /** Of the answer, status line and all. */
  readonly head?: string
  readonly body?: string
  /** Whether a sidecar read the request, or carried its bytes. */
  readonly chain?: 'http' | 'tcp'
}

export interface RunningSidecar extends AsyncDisposable {
  /** Puts the bundle of `app/web-1` in force. */
  readonly apply: (intent: Intent) => Promise<void>
  readonly send: (request: SidecarRequest) => Promise<Seen>
  /** The first bytes of each connection that the app got, latin1. */
  readonly reached: readonly string[]
}

/** Longest wait for an answer. */
const ANSWER_MS = 8_000
/** An answer that does not come may be late on a busy machine; one that never comes is none. */
const MAX_TRIES = 3

/**
 * Opens a sidecar of `app/web-1` for `ports`, with an app that tells what it was sent.
 *
 * @param places - addresses by `host:port`, for providers that are asked
 */
export async function openRunningSidecar(
  ports: readonly number[],
  places: Readonly<Record<string, string>> = {},
): Promise<RunningSidecar> {
  await using opening = new AsyncDisposableStack()
  const app = opening.use(await openApp())
  const issuer = await createFakeIssuer()
  const stranger = await createFakeIssuer()
  const svid = createLive(await issuer.issue('spiffe://cluster.local/ns/app/sa/web'))
  const inbound = createLive<InboundConfiguration | undefined>(undefined)
  const aborter = new AbortController()
  const now = (): Temporal.Instant => Temporal.Now.instant()
  const telemetry = opening.use(
    createTelemetry(
      { clock: realClock, now, random: Math.random, writeAccessLog: undefined },
      aborter.signal,
    ),
  )
  const plane = opening.use(
    await openDataPlane(
      {
        inbound: ports.map((port) => ({ port, listen: `${DESTINATION_IP}:0`, app: app.address })),
        outbound: '127.0.0.1:0',
        drainMs: 0,
      },
      {
        svid: svid.live,
        inbound: inbound.live,
        find: finder(places),
        clock: realClock,
        now,
        random: Math.random,
        telemetry,
        log: () => {},
      },
    ),
  )
  opening.defer(() => aborter.abort())
  const identities = createIdentities(issuer, stranger)
  const owned = opening.move()
  return {
    async apply(intent) {
      const [workload] = intent.workloads
      if (workload === undefined) throw new Error('the case has no workload')
      const listening = workload.ports.map((port) => ({ ...port, address: '' }))
      const bundle = assembleInbound(intent, { ...workload, ports: listening })
      const body = Buffer.from(JSON.stringify(bundle))
      inbound.set(await compileInbound(body, '1', { now }))
    },
    async send(request) {
      const address = plane.inbound[request.port] ?? ''
      const identity = await identities(request.from)
      const target = { port: Number(address.split(':')[1]), identity }
      let seen: Seen | 'late' = 'late'
      for (let tries = 0; seen === 'late' && tries < MAX_TRIES; tries += 1) {
        seen = await exchange(request, target)
      }
      return seen === 'late' ? { kind: 'closed' } : seen
    },
    reached: app.reached,
    [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
  }
}

/** Where providers are, each in plaintext; nobody else is there. */
function finder(places: Readonly<Record<string, string>>) {
  const known = Object.entries(places).map(([key, address]) => {
    const [host = '', port = ''] = key.split(':')
    const to = { host, port: Number(port), protocol: 'http' } as const
    const workload = { namespace: '', name: '', serviceAccount: '', labels: {} }
    const endpoints = [{ address, tls: 'none', identities: [], workload } as const]
    const clusters = { [`outbound|${port}||${host}`]: cluster('', { endpoints }) }
    const found = compiledDestination(destinationBundle(clusters, to))
    return [key, createLive<Destination | undefined>(found).live] as const
  })
  const byPlace = new Map(known)
  const nobody = createLive<Destination | undefined>(
    compiledDestination({ format: 1, kind: 'unknown' }),
  )
  return (host: string, port: number) => byPlace.get(`${host}:${port}`) ?? nobody.live
}

/** A certificate, none in TLS, or plaintext. */
type Identity = Svid | 'nocert' | 'none'

function createIdentities(good: FakeIssuer, bad: FakeIssuer): (from: string) => Promise<Identity> {
  const made = new Map<string, Promise<Svid>>()
  return async (from) => {
    if (from === 'none' || from === 'nocert') return from
    const [, of, id = ''] = /^(badca:)?(.*)$/.exec(from) ?? []
    const svid = made.get(from) ?? (of === undefined ? good : bad).issue(id)
    made.set(from, svid)
    return svid
  }
}

const ALPN: Readonly<Record<SidecarRequest['protocol'], readonly string[]>> = {
  'http/1.1': ['istio-http/1.1', 'istio', 'http/1.1'],
  h2: ['istio-h2', 'istio', 'h2'],
  grpc: ['istio-h2', 'istio', 'h2'],
  tcp: ['istio-peer-exchange', 'istio'],
}

interface Target {
  readonly port: number
  readonly identity: Identity
}

async function exchange(
  request: SidecarRequest,
  { port, identity }: Target,
): Promise<Seen | 'late'> {
  const at = { host: DESTINATION_IP, port, localAddress: request.srcIp ?? '127.0.0.1' }
  const socket: Socket =
    identity === 'none' ? connectPlain(at) : connectTls({ ...at, ...tls(request, identity) })
  if (request.protocol === 'h2' || request.protocol === 'grpc') return ask(socket, request)
  let received = ''
  let isOver = false
  let isLate = false
  socket.on('data', (bytes: Buffer) => {
    received += bytes.toString('latin1')
  })
  const over = new Promise<void>((resolve) => {
    const end = (): void => {
      isOver = true
      resolve()
    }
    socket.on('error', end).on('end', end).on('close', end)
    socket.setTimeout(ANSWER_MS, () => {
      isLate = true
      end()
    })
    socket.on('data', () => void (isWhole(received, request) && end()))
  })
  socket.once(identity === 'none' ? 'connect' : 'secureConnect', () => {
    if (!isOver) socket.write(bytesOf(request), 'latin1')
  })
  await over
  socket.destroy()
  return isLate && received === '' ? 'late' : read(received)
}

/** What this client cannot send is sent by nobody. */
async function ask(socket: Socket, request: SidecarRequest): Promise<Seen | 'late'> {
  let isLate = false
  socket.on('error', () => {})
  socket.setTimeout(ANSWER_MS, () => {
    isLate = true
    socket.destroy()
  })
  const seen = await exchangeHttp2(socket, request)
  socket.destroy()
  return isLate && seen?.kind === 'closed' ? 'late' : (seen ?? { kind: 'unsendable' })
}

function tls({ alpn, sni, port, protocol }: SidecarRequest, identity: Svid | 'nocert') {
  const offered = (alpn ?? ALPN[protocol]).filter((name) => name !== '')
  return {
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    servername: sni ?? `outbound_.${port}_._.oracle.local`,
    ...(offered.length === 0 ? {} : { ALPNProtocols: [...offered] }),
    ...(identity === 'nocert' ? {} : { cert: identity.chainPem, key: identity.keyPem }),
  }
}

function bytesOf(request: SidecarRequest): string {
  const { raw, method = 'GET', host = 'oracle.local', path = '/', headers = [], body } = request
  if (raw !== undefined) return raw
  if (request.protocol === 'tcp') return 'ORACLE-TCP\n'
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`)
  if (body !== undefined) lines.push(`Content-Length: ${body.length}\r\n`)
  return `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n${lines.join('')}\r\n${body ?? ''}`
}

const HEAD_END = '\r\n\r\n'
/** What the app answers to what is not HTTP. */
const APP_SAID = 'ORACLE-TCP-OK'

function isWhole(received: string, { method }: SidecarRequest): boolean {
  if (!received.startsWith('HTTP/1.')) return received.endsWith('\n')
  const end = received.indexOf(HEAD_END)
  if (end < 0) return false
  const length = Number(/\r\ncontent-length: *(\d+)/i.exec(received.slice(0, end))?.[1] ?? 0)
  return method === 'HEAD' || received.length >= end + HEAD_END.length + length
}

function read(received: string): Seen {
  if (received === '') return { kind: 'closed' }
  const [, status] = /^HTTP\/1\.1 (\d{3}) /.exec(received) ?? []
  // A side that speaks HTTP/2 says its settings, whatever it has got.
  if (status === undefined) return { kind: received.startsWith(APP_SAID) ? 'tcp' : 'closed' }
  const [, path, chain, sent = ''] =
    /\r\nx-path: ([^\r]*)\r\nx-chain: (http|tcp)\r\nx-head: ([^\r]*)\r\n/.exec(received) ?? []
  const forwardedHead = Buffer.from(sent, 'base64').toString('utf8')
  return {
    kind: 'http',
    status: Number(status),
    ...(path === undefined
      ? {}
      : { forwardedPath: path, forwardedHead, chain: chain === 'http' ? 'http' : 'tcp' }),
    head: received.slice(0, received.indexOf(HEAD_END)),
    body: received.slice(received.indexOf(HEAD_END) + HEAD_END.length),
  }
}

/** Answers HTTP/1 with the target in `x-path`, and anything else with a line. */
async function openApp(): Promise<
  { readonly address: string; readonly reached: readonly string[] } & AsyncDisposable
> {
  const reached: string[] = []
  const sockets = new Set<Socket>()
  const http2 = createHttp2App()
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    let held = ''
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    const onData = (bytes: Buffer): void => {
      if (held === '') reached.push(bytes.toString('latin1'))
      if (held === '' && isHttp2(bytes.toString('latin1'))) {
        socket.off('data', onData).pause().unshift(bytes)
        return void http2.emit('connection', socket)
      }
      held += bytes.toString('latin1')
      const isHttp = / HTTP\/1\.1\r\n/.test(held)
      // TLS that passed through untouched ends here as well: this is no ServerHello.
      if (held.startsWith('\x16') || (!isHttp && held.endsWith('\n'))) {
        socket.write(`${APP_SAID} app\n`)
        held = ''
      }
      if (!isHttp || !held.includes(HEAD_END)) return
      const [, target = ''] = held.split(' ')
      const chain = held.includes('\r\nx-request-id: ') ? 'http' : 'tcp'
      const head = Buffer.from(held.slice(0, held.indexOf(HEAD_END)), 'latin1').toString('base64')
      held = ''
      const seen = `x-path: ${target}\r\nx-chain: ${chain}\r\nx-head: ${head}\r\n`
      socket.write(`HTTP/1.1 200 OK\r\n${seen}content-length: 0\r\n\r\n`)
    }
    socket.on('data', onData)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const at = server.address()
  return {
    address: `127.0.0.1:${typeof at === 'object' ? at?.port : 0}`,
    reached,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
