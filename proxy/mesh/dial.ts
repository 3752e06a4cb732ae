import { connect, type Socket } from 'node:net'
import { dialTls, type TlsDialDeps, type TlsTarget } from '../tls/client.ts'
import type { TimerWheel } from '../stack/timer-wheel.ts'
import type { Dial } from './http1.ts'

export interface PlainTarget {
  readonly host: string
  readonly port: number
  readonly sourceAddress?: string | undefined
}

export interface DialLimits {
  readonly wheel: TimerWheel
  readonly connectTimeoutMs: number
}

/** Part of a certificate's rest of life after which no new request goes on its connection. */
const LIFE_PART = 0.8

/** Dials an app, or a host outside the mesh: plaintext. */
export function plainDial(target: PlainTarget, limits: DialLimits): Dial {
  return (onOpen, onFailure) =>
    once(limits, onFailure, (settle) => {
      const { sourceAddress } = target
      const socket = connect({
        host: target.host,
        port: target.port,
        ...(sourceAddress === undefined ? {} : { localAddress: sourceAddress }),
        noDelay: true,
        allowHalfOpen: true,
      })
      const onError = (cause: NodeJS.ErrnoException): void => {
        settle(() => onFailure('connect', cause.code ?? cause.message))
      }
      socket.once('error', onError)
      socket.once('connect', () => {
        socket.removeListener('error', onError)
        settle(() => onOpen({ socket, lifeMs: Number.POSITIVE_INFINITY }))
      })
      return socket
    })
}

/**
 * Dials a peer sidecar. The connection takes new requests for four fifths of what is left of either
 * certificate: then the server, which ends it with the certificate, never meets a request on its way.
 */
export function tlsDial(deps: TlsDialDeps, target: TlsTarget, limits: DialLimits): Dial {
  return (onOpen, onFailure) =>
    once(limits, onFailure, (settle) =>
      dialTls(deps, target, {
        onOpen: (socket, _peer, lifeMs) =>
          settle(() => onOpen({ socket, lifeMs: lifeMs * LIFE_PART })),
        onFailure: (kind, detail) => settle(() => onFailure(kind, detail)),
      }),
    )
}

/** One outcome: opened, failed, too late, or given up. */
function once(
  { wheel, connectTimeoutMs }: DialLimits,
  onFailure: Parameters<Dial>[1],
  start: (settle: (outcome: () => void) => void) => Socket,
): () => void {
  let settled = false
  const settle = (outcome: () => void): void => {
    if (settled) return
    settled = true
    timer.clear()
    outcome()
  }
  const timer = wheel.timer(() => {
    settle(() => onFailure('connect', `no connection within ${connectTimeoutMs} ms`))
    giveUp()
  })
  timer.set(connectTimeoutMs)
  const socket = start(settle)
  const giveUp = (): void => {
    settled = true
    timer.clear()
    socket.on('error', () => {})
    socket.destroy()
  }
  return giveUp
}
