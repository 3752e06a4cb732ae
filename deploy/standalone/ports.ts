import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'

/**
 * Free ports of 127.0.0.1, all different. Found by binding and letting go, so another process could
 * take one in between; an app that finds its port taken says so and is started again.
 */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer())
  try {
    for (const server of servers) {
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
    }
    return servers.map((server) => (server.address() as AddressInfo).port)
  } finally {
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  }
}
