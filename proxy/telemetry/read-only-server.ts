import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { formatAddress, parseAddress } from '../config.ts'
import { ProxyError } from '../error.ts'
import { readAuthority } from '../http/path.ts'

export interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string
}

/** What is served, by path. */
export type Pages = Readonly<Record<string, (query: URLSearchParams) => Answer>>

export interface ReadOnlyServer extends AsyncDisposable {
  /** `host:port` that was bound. */
  readonly address: string
}

/**
 * Serves `pages` to GET and HEAD, and nothing else to anybody.
 *
 * @param isOwnHost - whether a `Host` may be asked for; left out: any may
 * @throws {ProxyError} `PROXY_LISTEN_FAILED`
 */
export async function listenReadOnly(
  address: string,
  pages: Pages,
  isOwnHost: (host: string) => boolean = () => true,
): Promise<ReadOnlyServer> {
  const { host, port } = parseAddress(address)
  const server = createServer((request, response) => {
    respond(request, response, answerOf(request, pages, isOwnHost))
  })
  try {
    server.listen(port, host)
    await once(server, 'listening')
  } catch (cause) {
    throw new ProxyError(
      'PROXY_LISTEN_FAILED',
      `Cannot listen on ${address}: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    )
  }
  const bound = server.address() as AddressInfo
  return {
    address: formatAddress(host, bound.port),
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

function answerOf(
  { method, url = '/', headers }: IncomingMessage,
  pages: Pages,
  isOwnHost: (host: string) => boolean,
): Answer {
  if (method !== 'GET' && method !== 'HEAD') return plain(405, 'This port is read-only')
  if (!isOwnHost(readAuthority(headers.host ?? '')?.host ?? '')) {
    return plain(421, 'This port answers to loopback names only')
  }
  const [path = '', query = ''] = url.split('?', 2)
  const page = Object.hasOwn(pages, path) ? pages[path] : undefined
  return page?.(new URLSearchParams(query)) ?? plain(404, `No such page; there are ${list(pages)}`)
}

function list(pages: Pages): string {
  return Object.keys(pages).join(' ')
}

function plain(status: number, text: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', body: `${text}\n` }
}

function respond(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
  const { status, type, body } = answer
  // What a client sends is of no interest, and a connection that is full of it is not reused.
  if (request.headers['content-length'] !== undefined) response.setHeader('connection', 'close')
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(status === 405 && { allow: 'GET, HEAD' }),
  })
  response.end(request.method === 'HEAD' ? undefined : body)
}
