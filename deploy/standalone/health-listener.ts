/** The plain HTTP listener beside a control-plane process: `/metrics`, `/healthz`, `/ready`. Read-only, holds no secrets. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

import { DeployError } from '../error.ts'
import { formatAddress } from './address.ts'

/** What a process says of itself. */
export interface Observed {
  readonly health: () => { readonly ready: boolean; readonly reasons: readonly string[] }
  /** Prometheus text. */
  readonly metrics: () => Promise<string>
}

/** Disposing it stops listening. */
export interface HealthListener extends AsyncDisposable {
  /** `host:port`. */
  readonly address: string
}

/** @throws {DeployError} `DEPLOY_PROCESS_FAILED` if the address cannot be had */
export async function listenHealth(
  { host, port }: { readonly host: string; readonly port: number },
  observed: Observed,
): Promise<HealthListener> {
  const server = createServer((request, response) => {
    void answer(observed, request, response)
  })
  try {
    server.listen(port, host)
    await once(server, 'listening')
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? String(cause)
    throw new DeployError(
      'DEPLOY_PROCESS_FAILED',
      `Cannot listen on ${formatAddress(host, port)} for metrics: ${why}`,
      { cause },
    )
  }
  const { address, port: taken } = server.address() as AddressInfo
  return {
    address: formatAddress(address, taken),
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
    },
  }
}

async function answer(
  { health, metrics }: Observed,
  { method, url = '' }: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const [path] = url.split('?')
  if (method !== 'GET' && method !== 'HEAD') return reply(response, 405, 'method not allowed\n')
  if (path === '/healthz') return reply(response, 200, 'ok\n')
  if (path === '/ready') {
    const { ready, reasons } = health()
    return reply(response, ready ? 200 : 503, ready ? 'ready\n' : `${reasons.join('\n')}\n`)
  }
  if (path !== '/metrics') return reply(response, 404, 'try /metrics, /healthz or /ready\n')
  try {
    reply(response, 200, await metrics(), 'text/plain; version=0.0.4; charset=utf-8')
  } catch (cause) {
    reply(response, 500, `cannot collect metrics: ${String(cause)}\n`)
  }
}

function reply(response: ServerResponse, status: number, body: string, type = 'text/plain'): void {
  response.writeHead(status, { 'content-type': type }).end(body)
}
