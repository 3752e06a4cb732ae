import type { Socket } from 'node:net'
import { ServerConnection, type ServerConnectionOptions } from './server-connection.ts'

/** The HTTP connections and tunnels that a sidecar has open, and the way to let them end. */
export interface OpenConnections {
  readonly serve: (
    socket: Socket,
    sink: ServerConnectionOptions['sink'],
    head?: Buffer,
  ) => ServerConnection
  /** Counts a tunnel in; call what it returns when the tunnel is over. */
  readonly addTunnel: (destroy: () => void) => () => void
  /** Requests and tunnels that are not over. */
  readonly busy: () => number
  /** HTTP connections, idle ones too, and tunnels. */
  readonly count: () => number
  /** From now on every answer says `connection: close`. */
  readonly retireAll: () => void
  /** Ends connections that have no request. */
  readonly closeIdle: () => void
  readonly destroyAll: () => void
}

/** Keeps track of what is open on the listeners of one sidecar. */
export function createOpenConnections(wheel: ServerConnectionOptions['wheel']): OpenConnections {
  const connections = new Set<ServerConnection>()
  const tunnels = new Set<() => void>()
  let retiring = false
  return {
    serve(socket, sink, head) {
      const connection = new ServerConnection(socket, {
        wheel,
        sink,
        onClose: (closed) => connections.delete(closed),
      })
      connections.add(connection)
      if (retiring) connection.retire()
      if (head !== undefined && head.length > 0) connection.push(head)
      socket.resume()
      return connection
    },
    addTunnel(destroy) {
      tunnels.add(destroy)
      return () => void tunnels.delete(destroy)
    },
    busy() {
      let busy = tunnels.size
      for (const connection of connections) if (!connection.isIdle) busy += 1
      return busy
    },
    count: () => connections.size + tunnels.size,
    retireAll() {
      retiring = true
      for (const connection of connections) connection.retire()
    },
    closeIdle() {
      for (const connection of connections) if (connection.isIdle) connection.socket.end()
    },
    destroyAll() {
      for (const connection of connections) connection.socket.destroy()
      for (const destroy of tunnels) destroy()
    },
  }
}
