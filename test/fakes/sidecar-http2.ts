/** The HTTP/2 side of a running sidecar: one stream on a connection of its own, and an app that tells what it got. */
import {
  type ClientHttp2Stream,
  connect,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Socket } from 'node:net'
import type { Seen, SidecarRequest } from './running-sidecar.ts'

/** Whether the bytes begin HTTP/2. */
export function isHttp2(bytes: string): boolean {
  return bytes.startsWith('PRI * HTTP/2.0')
}

/** Answers each stream with what it was sent; give it connections that begin with the preface. */
export function createHttp2App(): Http2Server {
  const server = createServer()
  server.on('session', (session) => session.on('error', () => {}))
  server.on('sessionError', () => {})
  server.on('stream', (stream: ServerHttp2Stream, headers, _flags, raw: string[]) => {
    stream.on('error', () => {})
    const lines = Array.from({ length: raw.length / 2 }, (_, index) => raw.slice(2 * index))
      .filter(([name = '']) => !name.startsWith(':'))
      .map(([name, value]) => `${name}: ${value}`)
    const target = String(headers[':path'])
    const head = [`${headers[':method']} ${target} HTTP/2`, ...lines].join('\r\n')
    stream.respond(
      {
        ':status': 200,
        'x-path': target,
        'x-chain': headers['x-request-id'] === undefined ? 'tcp' : 'http',
        'x-head': Buffer.from(head, 'latin1').toString('base64'),
      },
      { endStream: true },
    )
    stream.resume()
  })
  return server
}

/** Sends one request on a connected socket; `undefined` when this client cannot send it. */
export async function exchangeHttp2(
  socket: Socket,
  request: SidecarRequest,
): Promise<Seen | undefined> {
  const session = connect('http://oracle.local', {
    createConnection: () => socket,
    strictSingleValueFields: false,
  } as object)
  session.on('error', () => {})
  try {
    const { body = request.protocol === 'grpc' ? '\0\0\0\0\0' : '' } = request
    const stream = session.request(fieldsOf(request), { endStream: body === '' })
    if (body !== '') stream.end(Buffer.from(body, 'latin1'))
    return await seenOn(stream)
  } catch {
    return undefined
  } finally {
    session.destroy()
  }
}

function fieldsOf(request: SidecarRequest): string[] {
  const { protocol, host = 'oracle.local', path = '/', headers = [] } = request
  const { method = protocol === 'grpc' ? 'POST' : 'GET' } = request
  const fields = [':method', method, ':scheme', 'http', ':authority', host, ':path', path]
  for (const [name, value] of headers) fields.push(name.toLowerCase(), value)
  if (protocol === 'grpc') fields.push('content-type', 'application/grpc', 'te', 'trailers')
  return fields
}

function seenOn(stream: ClientHttp2Stream): Promise<Seen> {
  let head: IncomingHttpHeaders | undefined
  let body = ''
  stream.on('error', () => {})
  stream.on('response', (headers) => {
    head = headers
  })
  stream.on('data', (bytes: Buffer) => {
    body += bytes.toString('latin1')
  })
  return new Promise((resolve) => {
    stream.on('close', () => resolve(head === undefined ? { kind: 'closed' } : read(head, body)))
  })
}

function read(headers: IncomingHttpHeaders, body: string): Seen {
  const { ':status': status, 'x-path': path, 'x-chain': chain, 'x-head': sent } = headers
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${String(value)}`)
  const forwarded = {
    forwardedPath: String(path),
    forwardedHead: Buffer.from(String(sent), 'base64').toString('utf8'),
    chain: chain === 'http' ? 'http' : 'tcp',
  } as const
  return {
    kind: 'http',
    status: Number(status),
    ...(path === undefined ? {} : forwarded),
    head: lines.join('\r\n'),
    // What HTTP says in its body, gRPC says in a field.
    body: body || decodeURIComponent(String(headers['grpc-message'] ?? '')),
  }
}
