/** A sidecar before an app that speaks HTTP/2, and its callers: real sockets, TLS, sessions of `node:http2`. */
import { once } from 'node:events'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import { connect as connectPlain, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Svid } from '#agent/client/index.ts'
import type { InboundBundle } from '#policy/model/index.ts'
import {
  CLIENT_ID,
  compiledInbound,
  type FakeSidecar,
  inboundBundle,
  openFakeSidecar,
  SERVER_ID,
} from './fake-sidecars.ts'
import { createFakeIssuer, type FakeIssuer } from './fake-svid.ts'

/** What an app of HTTP/2 was asked. */
export interface StreamSeen {
  readonly stream: ServerHttp2Stream
  readonly headers: IncomingHttpHeaders
  /** Names and values in turn. */
  readonly raw: readonly string[]
}

export interface StreamApp extends AsyncDisposable {
  readonly address: string
  readonly server: Http2Server
  readonly sessions: readonly ServerHttp2Session[]
  readonly seen: readonly StreamSeen[]
}

/** An app; `answer` answers one stream. */
export async function openStreamApp(answer: (seen: StreamSeen) => void): Promise<StreamApp> {
  const server = createServer({ strictSingleValueFields: false } as object)
  const seen: StreamSeen[] = []
  const sessions: ServerHttp2Session[] = []
  server.on('session', (session) => {
    sessions.push(session)
    session.on('error', () => {})
  })
  server.on('sessionError', () => {})
  server.on('stream', (stream: ServerHttp2Stream, headers, _flags, raw: string[]) => {
    stream.on('error', () => {})
    const one = { stream, headers, raw }
    seen.push(one)
    answer(one)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const at = server.address()
  return {
    address: `127.0.0.1:${typeof at === 'object' ? at?.port : 0}`,
    server,
    sessions,
    seen,
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Answers with the request's path, and trailers as gRPC has them. */
export function answerWithPath({ stream, headers }: StreamSeen): void {
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
  stream.resume()
  stream.end(String(headers[':path']))
}

export interface StreamsOptions {
  readonly app: string
  readonly protocol?: 'http' | 'http2' | 'grpc' | 'auto' | 'tcp'
  readonly mtls?: 'STRICT' | 'PERMISSIVE' | 'DISABLE'
  readonly bundle?: Partial<InboundBundle>
  readonly drainMs?: number
}

export interface OpenStreams extends AsyncDisposable {
  readonly issuer: FakeIssuer
  readonly sidecar: FakeSidecar
  /** Of the inbound port. */
  readonly port: number
  /** A caller with an identity; `null`: in plaintext. */
  readonly call: (id?: string | null, alpn?: string) => Promise<Caller>
  readonly callAs: (svid: Svid) => Promise<Caller>
  /** A socket that speaks HTTP/2 or whatever the test writes to it. */
  readonly dial: (id?: string | null, alpn?: string) => Promise<Socket>
  readonly apply: (change: Partial<InboundBundle>) => void
  /** Lines of the access log, once there are `count`. */
  readonly log: (count: number) => Promise<readonly Readonly<Record<string, unknown>>[]>
}

/** What came back on one stream. */
export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
  readonly trailers: IncomingHttpHeaders | undefined
  /** HTTP/2's code of how it ended; 0 for well. */
  readonly code: number
}

export interface Caller extends AsyncDisposable {
  readonly session: ClientHttp2Session
  readonly open: (headers: OutgoingHttpHeaders, endStream?: boolean) => ClientHttp2Stream
  /** Sends a whole request and waits for its answer. */
  readonly ask: (headers: OutgoingHttpHeaders, body?: string) => Promise<Answer>
}

export const GRPC: OutgoingHttpHeaders = {
  ':method': 'POST',
  'content-type': 'application/grpc',
  te: 'trailers',
}

const PORT = 8080

export function streamsBundle({
  protocol = 'grpc',
  mtls = 'STRICT',
  bundle,
}: Omit<StreamsOptions, 'app'>): InboundBundle {
  return inboundBundle({ mtls, ports: [{ port: PORT, name: 'rpc', protocol, mtls }], ...bundle })
}

export async function openStreams(options: StreamsOptions): Promise<OpenStreams> {
  const issuer = await createFakeIssuer()
  const { app, drainMs = 2000 } = options
  const bundle = streamsBundle(options)
  const svid = await issuer.issue(SERVER_ID)
  const sidecar = await openFakeSidecar({ svid, app, bundle, drainMs })
  const port = Number(sidecar.plane.inbound[PORT]?.split(':')[1])
  const svids = new Map<string, Promise<Svid>>()
  const callers: Caller[] = []
  const dial = async (id: string | null = CLIENT_ID, alpn = 'istio-h2'): Promise<Socket> => {
    const at = { host: '127.0.0.1', port }
    if (id === null) {
      const socket = connectPlain(at)
      await once(socket, 'connect')
      return socket
    }
    const made = svids.get(id) ?? issuer.issue(id)
    svids.set(id, made)
    return dialAs(await made, alpn)
  }
  const dialAs = async ({ chainPem: cert, keyPem: key }: Svid, alpn: string): Promise<Socket> => {
    const socket = connectTls({
      ...{ host: '127.0.0.1', port, cert, key, rejectUnauthorized: false, ALPNProtocols: [alpn] },
      checkServerIdentity: () => undefined,
      servername: 'server.test',
    })
    await once(socket, 'secureConnect')
    return socket
  }
  const keep = (caller: Caller): Caller => {
    callers.push(caller)
    return caller
  }
  return {
    issuer,
    sidecar,
    port,
    dial,
    call: async (id, alpn) => keep(openCaller(await dial(id, alpn))),
    callAs: async (one) => keep(openCaller(await dialAs(one, 'istio-h2'))),
    apply: (change) => sidecar.inbound.set(compiledInbound({ ...bundle, ...change })),
    async log(count) {
      const lines = () => sidecar.log.flatMap((text) => text.split('\n').filter(Boolean))
      await until(() => lines().length >= count)
      return lines().map((line) => JSON.parse(line))
    },
    async [Symbol.asyncDispose]() {
      for (const caller of callers) await caller[Symbol.asyncDispose]()
      await sidecar[Symbol.asyncDispose]()
    },
  }
}

/** Longest wait of a test for something to happen. */
const WAIT_MS = 10_000

export async function until(done: () => boolean): Promise<void> {
  for (let waited = 0; !done(); waited += 5) {
    if (waited > WAIT_MS) throw new Error(`it has not happened within ${WAIT_MS} ms`)
    await sleep(5)
  }
}

export function openCaller(socket: Socket): Caller {
  const session = connect('http://server.test', { createConnection: () => socket })
  session.on('error', () => {})
  const open: Caller['open'] = (headers, endStream = false) => {
    const head = { ':method': 'GET', ':path': '/', ':authority': 'server.test', ...headers }
    const stream = session.request(head, { endStream })
    stream.on('error', () => {})
    return stream
  }
  return {
    session,
    open,
    ask(headers, body) {
      const stream = open(headers, body === undefined)
      if (body !== undefined) stream.end(body)
      return answerOf(stream)
    },
    async [Symbol.asyncDispose]() {
      session.destroy()
    },
  }
}

/** Reads what comes back until the stream is over. */
export async function answerOf(stream: ClientHttp2Stream): Promise<Answer> {
  let headers: IncomingHttpHeaders = {}
  let trailers: IncomingHttpHeaders | undefined
  let body = ''
  stream.on('response', (came) => {
    headers = came
  })
  stream.on('trailers', (came) => {
    trailers = came
  })
  stream.on('data', (bytes: Buffer) => {
    body += bytes.toString('latin1')
  })
  if (!stream.destroyed) await once(stream, 'close').catch(() => {})
  const status = Number(headers[':status'] ?? 0)
  return { status, headers, body, trailers, code: stream.rstCode ?? 0 }
}
