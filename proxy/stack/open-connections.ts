import type { Socket } from 'node:net'
import { ServerConnection, type ServerConnectionOptions } from './server-connection.ts'

/** What all HTTP connections have in common, whichever version they speak. */
export interface OpenConnection {
  readonly socket: Socket
  /** Whether no request is under way. */
  readonly isIdle: boolean
  /** Takes no further request after those at hand. */
  readonly retire: () => void
  /** Ends it; only while it is idle. */
  readonly endIdle: () => void
}

/** The HTTP connections and tunnels that a sidecar has open, and the way to let them end. */
export interface OpenConnections {
  readonly serve: (
    socket: Socket,
    sink: ServerConnectionOptions['sink'],
    head?: Buffer,
  ) => ServerConnection
  /** Counts a connection in that is served elsewhere; call what it returns when it is closed. */
  readonly add: (connection: OpenConnection) => () => void
  /**
   * Keeps an accepted socket until it is closed, so that none outlives the sidecar. What it returns
   * is called when the client has shown what it speaks; until then it is idle.
   */
  readonly accept: (socket: Socket) => () => void
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
  const connections = new Set<OpenConnection>()
  const tunnels = new Set<() => void>()
  const sockets = new Set<Socket>()
  const silent = new Set<Socket>()
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
    add(connection) {
      connections.add(connection)
      if (retiring) connection.retire()
      return () => void connections.delete(connection)
    },
    accept(socket) {
      sockets.add(socket)
      silent.add(socket)
      socket.once('close', () => {
        sockets.delete(socket)
        silent.delete(socket)
      })
      return () => void silent.delete(socket)
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
    count: () => connections.size + tunnels.size + silent.size,
    retireAll() {
      retiring = true
      for (const connection of connections) connection.retire()
    },
    closeIdle() {
      for (const connection of connections) if (connection.isIdle) connection.endIdle()
      for (const socket of silent) socket.destroy()
    },
    destroyAll() {
      for (const connection of connections) connection.socket.destroy()
      for (const destroy of tunnels) destroy()
      for (const socket of sockets) socket.destroy()
    },
  }
}
