import type { Socket } from 'node:net'

export interface TunnelEnd {
  /** Bytes that went from `a` to `b`, and back. */
  readonly sent: number
  readonly received: number
}

/**
 * Joins two sockets: bytes both ways with backpressure, each half closed when the other's is, all
 * gone when either fails.
 *
 * @param onEnd - called once, when both sockets are closed
 */
export function joinSockets(a: Socket, b: Socket, onEnd: (end: TunnelEnd) => void): void {
  let sent = 0
  let received = 0
  let open = 2
  const onClose = (closed: Socket, other: Socket): void => {
    open -= 1
    // After a proper end the other one still has bytes to deliver, and closes by itself.
    if (!closed.readableEnded) other.destroy()
    if (open === 0) onEnd({ sent, received })
  }
  carry(a, b, (bytes) => {
    sent += bytes
  })
  carry(b, a, (bytes) => {
    received += bytes
  })
  for (const socket of [a, b]) {
    const other = socket === a ? b : a
    // What happened is told by 'close', which follows.
    socket.on('error', () => {})
    if (socket.closed) queueMicrotask(() => onClose(socket, other))
    else socket.once('close', () => onClose(socket, other))
  }
  a.resume()
  b.resume()
}

function carry(from: Socket, to: Socket, count: (bytes: number) => void): void {
  from.on('data', (bytes: Buffer) => {
    count(bytes.length)
    if (!to.write(bytes)) from.pause()
  })
  to.on('drain', () => from.resume())
  from.on('end', () => to.end())
}
