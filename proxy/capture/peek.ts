import type { Socket } from 'node:net'
import type { TimerWheel } from '../stack/timer-wheel.ts'

/** More is needed by few. */
const MAX_PEEK = 1024

export interface PeekOptions<Detected> {
  readonly wheel: TimerWheel
  /** Milliseconds to wait for bytes that tell; then it is `otherwise`. */
  readonly timeoutMs: number
  /** Asked again with each read, of all bytes so far. */
  readonly detect: (bytes: Buffer) => Detected | 'need-more'
  readonly otherwise: Detected
  /** After so many bytes that do not tell it is `otherwise`. @default 1024 */
  readonly maxBytes?: number
  /** `head`: what was read to tell, to be given to whoever goes on. */
  readonly onDetected: (detected: Detected, head: Buffer) => void
}

/** Waits for the first bytes of a connection and tells what it speaks. The socket is paused then. */
export function peek<Detected>(socket: Socket, options: PeekOptions<Detected>): void {
  const { wheel, timeoutMs, detect, otherwise, maxBytes = MAX_PEEK, onDetected } = options
  let head: Buffer = Buffer.alloc(0)
  const finish = (detected: Detected): void => {
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
    const detected = detect(head)
    if (detected !== 'need-more') finish(detected)
    else if (head.length >= maxBytes) finish(otherwise)
  }
  const onEnd = (): void => void socket.end()
  const onClose = (): void => timer.clear()
  // What happened is told by 'close', which follows.
  const onError = (): void => {}
  const timer = wheel.timer(() => finish(otherwise))
  timer.set(timeoutMs)
  socket.on('data', onData)
  socket.on('end', onEnd)
  socket.on('close', onClose)
  socket.on('error', onError)
}
