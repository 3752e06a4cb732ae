import { createServer, type Server, type Socket } from 'node:net'
import { formatAddress, parseAddress } from '../config.ts'
import { ProxyError } from '../error.ts'

export interface Listener {
  /** `host:port` really listened on. */
  readonly address: string
  /** Stops accepting; what was accepted goes on. */
  readonly stop: () => void
}

/**
 * Listens on `host:port` and hands over every accepted socket, half-open allowed: a client may have
 * finished sending while it still waits for its answer.
 *
 * @throws {ProxyError} `PROXY_CONFIG_INVALID` `PROXY_LISTEN_FAILED`
 */
export async function listen(
  address: string,
  onSocket: (socket: Socket) => void,
): Promise<Listener> {
  const { host, port } = parseAddress(address)
  const server = createServer({ allowHalfOpen: true, noDelay: true }, onSocket)
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      const message = `Cannot listen on ${address}: ${cause.message}`
      reject(new ProxyError('PROXY_LISTEN_FAILED', message, { cause }))
    })
    server.listen({ host, port, backlog: 1024 }, resolve)
  })
  return { address: addressOf(server), stop: () => void server.close() }
}

function addressOf(server: Server): string {
  const address = server.address()
  if (address === null || typeof address === 'string') {
    throw new ProxyError(
      'PROXY_LISTEN_FAILED',
      'Cannot tell where the proxy listens: no TCP address',
    )
  }
  return formatAddress(address.address, address.port)
}
