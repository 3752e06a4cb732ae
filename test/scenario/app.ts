/** The tiny applications of a scenario: plain HTTP on a free port of 127.0.0.1. */
import { once } from 'node:events'
import {
  Agent as HttpAgent,
  createServer,
  type IncomingHttpHeaders,
  type RequestListener,
  request,
} from 'node:http'
import type { AddressInfo } from 'node:net'

/** An app that is listening. */
export interface App extends AsyncDisposable {
  /** `host:port`. */
  readonly address: string
  /** Requests that it was given. */
  readonly requests: () => number
}

export async function startApp(answer: RequestListener): Promise<App> {
  let requests = 0
  const server = createServer((received, response) => {
    requests += 1
    answer(received, response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    address: `127.0.0.1:${port}`,
    requests: () => requests,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

/** Answers 200 with who it is and what it was asked. */
export function echo(name: string): RequestListener {
  return ({ method, url }, response) => {
    response.setHeader('content-type', 'text/plain')
    response.end(`${name} ${method} ${url}`)
  }
}

export interface Reply {
  readonly status: number
  readonly body: string
  readonly headers: IncomingHttpHeaders
}

export interface CallOptions {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** A client app: it sends its requests to its own sidecar's outbound port and names the service in `Host`. */
export function createCaller(outbound: string): {
  readonly call: (host: string, path: string, options?: CallOptions) => Promise<Reply>
} & Disposable {
  const agent = new HttpAgent({ keepAlive: true })
  const [hostname, port] = outbound.split(':')
  return {
    call: (host, path, { method = 'GET', headers = {}, body } = {}) =>
      new Promise((resolve, reject) => {
        const sent = request(
          { agent, hostname, port, path, method, headers: { host, ...headers } },
          (response) => {
            const chunks: Buffer[] = []
            response.on('data', (chunk: Buffer) => chunks.push(chunk))
            response.on('error', reject)
            response.on('end', () =>
              resolve({
                status: response.statusCode ?? 0,
                body: Buffer.concat(chunks).toString(),
                headers: response.headers,
              }),
            )
          },
        )
        sent.on('error', reject)
        sent.end(body)
      }),
    [Symbol.dispose]: () => agent.destroy(),
  }
}
