/**
 * The app's way out: one port that takes plain HTTP with `Host`, forward-proxy requests in absolute
 * form, `CONNECT` and SOCKS5, so that `http_proxy` and `ALL_PROXY` just work.
 */
import type { Socket } from 'node:net'
import { listen, type Listener } from '../capture/listen.ts'
import { detectProtocol } from '../capture/detect.ts'
import { peek } from '../capture/peek.ts'
import { readSocksGreeting, readSocksRequest, SOCKS_GRANTED } from '../capture/socks5.ts'
import type { Authority } from '../http/path.ts'
import { carryTo, type ConnectDeps } from './connect.ts'
import { OutboundRequests } from './requests.ts'

/** Milliseconds for a client to say anything at all. */
const DETECT_TIMEOUT_MS = 60_000
/** Longer than any greeting or request of SOCKS5. */
const MAX_SOCKS_BYTES = 600
const ESTABLISHED = 'HTTP/1.1 200 OK\r\n\r\n'

/** Serves the app on `address`. */
export function listenOutbound(
  address: string,
  options: Omit<ConnectDeps, 'onConnect'>,
): Promise<Listener> {
  const deps: ConnectDeps = {
    ...options,
    onConnect(connection, authority) {
      // Later, so that bytes in the same read are held by the connection and come with `detach`.
      queueMicrotask(() => {
        if (connection.socket.destroyed) return
        const rest = connection.detach()
        connection.socket.write(ESTABLISHED)
        carryTo(connection.socket, authority, deps, rest ?? Buffer.alloc(0))
      })
    },
  }

  function accept(socket: Socket): void {
    const heard = options.connections.accept(socket)
    peek(socket, {
      wheel: options.wheel,
      timeoutMs: DETECT_TIMEOUT_MS,
      detect: detectProtocol,
      otherwise: 'other',
      onDetected(detected, head) {
        heard()
        if (detected === 'socks5') return acceptSocks(socket, head)
        // Whatever else it is, the codec says what is wrong with it.
        options.connections.serve(
          socket,
          (connection) => new OutboundRequests(deps, connection),
          head,
        )
      },
    })
  }

  function acceptSocks(socket: Socket, head: Buffer): void {
    let held = head
    let isGreeted = false
    const onData = (bytes: Buffer): void => {
      held = Buffer.concat([held, bytes])
      advance()
    }
    const advance = (): void => {
      const step = isGreeted ? readSocksRequest(held) : readSocksGreeting(held)
      switch (step.kind) {
        case 'need-more':
          if (held.length > MAX_SOCKS_BYTES) socket.destroy()
          return
        case 'greeted':
          socket.write(step.reply)
          isGreeted = true
          held = held.subarray(step.next)
          return advance()
        case 'connect':
          return finish({ host: step.host, port: step.port }, held.subarray(step.next))
        case 'refused':
          return void socket.end(step.reply)
        default:
          return step satisfies never
      }
    }
    const finish = (authority: Authority, rest: Buffer): void => {
      socket.removeListener('data', onData)
      socket.write(SOCKS_GRANTED)
      carryTo(socket, authority, deps, rest)
    }
    socket.on('error', () => {})
    socket.on('data', onData)
    socket.resume()
    advance()
  }

  return listen(address, accept)
}
