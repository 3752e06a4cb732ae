import type { Socket } from 'node:net'
import type { TimerWheel } from '../stack/timer-wheel.ts'
import { type Detected, detectProtocol } from './detect.ts'

/** More is never needed to tell. */
const MAX_PEEK = 1024

export interface PeekOptions {
  readonly wheel: TimerWheel
  /** Milliseconds to wait for bytes that tell; then it is `other`. */
  readonly timeoutMs: number
  /** `head`: what was read to tell, to be given to whoever goes on. */
  readonly onDetected: (detected: Exclude<Detected, 'need-more'>, head: Buffer) => void
}

/** Waits for the first bytes of a connection and tells what it speaks. The socket is paused then. */
export function peek(socket: Socket, { wheel, timeoutMs, onDetected }: PeekOptions): void {
  let head: Buffer = Buffer.alloc(0)
  const finish = (detected: Exclude<Detected, 'need-more'>): void => {
    timer.clear()
    socket.pause()
    socket.removeListener('data', onData)
    socket.removeListener('end', onEnd)
    socket.removeListener('close', onClose)
    socket.removeListener('error', onError)
    onDetected(detected, head)
  }
  const onData = (bytes: Buffer): void => {
    head = head.length === 0 ? bytes : Buffer.concat([head, bytes])
    const detected = detectProtocol(head)
    if (detected !== 'need-more') finish(detected)
    else if (head.length >= MAX_PEEK) finish('other')
  }
  const onEnd = (): void => void socket.end()
  const onClose = (): void => timer.clear()
  // What happened is told by 'close', which follows.
  const onError = (): void => {}
  const timer = wheel.timer(() => finish('other'))
  timer.set(timeoutMs)
  socket.on('data', onData)
  socket.on('end', onEnd)
  socket.on('close', onClose)
  socket.on('error', onError)
}
