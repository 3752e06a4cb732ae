/** A closed-loop HTTP/1.1 load client: each connection sends its next request when the answer is complete. */
import { connect, type Socket } from 'node:net'
import { performance } from 'node:perf_hooks'

export interface LoadOptions {
  /** `host:port` of the outbound proxy. */
  readonly address: string
  /** The Host header. */
  readonly host: string
  readonly connections: number
  readonly durationMs: number
}

export interface LoadResult {
  /** Answers by status code. */
  readonly byStatus: ReadonlyMap<number, number>
  readonly responses: number
  readonly bodyBytes: number
  readonly seconds: number
  /** Milliseconds, of a sample of at most 20,000. */
  readonly p50: number
  readonly p99: number
}

const SAMPLE = 20_000

/** @throws {Error} when a connection breaks or an answer is not framed by Content-Length */
export async function load(options: LoadOptions): Promise<LoadResult> {
  const { address, host, connections, durationMs } = options
  const request = Buffer.from(`GET /items HTTP/1.1\r\nhost: ${host}\r\nuser-agent: bench\r\n\r\n`)
  const byStatus = new Map<number, number>()
  const waitsMs: number[] = []
  let responses = 0
  let bodyBytes = 0
  const startMs = performance.now()
  const endMs = startMs + durationMs

  const drive = (socket: Socket): Promise<void> =>
    new Promise((resolve, reject) => {
      let pending: Buffer = Buffer.alloc(0)
      let sentMs = performance.now()
      const send = (): void => {
        sentMs = performance.now()
        socket.write(request)
      }
      socket.on('error', reject)
      socket.on('close', () => reject(new Error('a connection was closed under load')))
      socket.on('data', (bytes: Buffer) => {
        pending = pending.length === 0 ? bytes : Buffer.concat([pending, bytes])
        const head = pending.indexOf('\r\n\r\n')
        if (head < 0) return
        const text = pending.toString('latin1', 0, head)
        const length = /\r\ncontent-length: (\d+)/i.exec(text)?.[1]
        if (length === undefined) return reject(new Error(`an answer has no length: ${text}`))
        if (pending.length < head + 4 + Number(length)) return
        const status = Number(text.slice(9, 12))
        byStatus.set(status, (byStatus.get(status) ?? 0) + 1)
        bodyBytes += Number(length)
        responses += 1
        const nowMs = performance.now()
        if (responses % 16 === 0 && waitsMs.length < SAMPLE) waitsMs.push(nowMs - sentMs)
        pending = Buffer.alloc(0)
        if (nowMs < endMs) return send()
        socket.removeAllListeners('close')
        socket.end()
        resolve()
      })
      socket.on('connect', send)
    })

  const [ip = '', port = ''] = address.split(':')
  await Promise.all(
    Array.from({ length: connections }, () =>
      drive(connect({ host: ip, port: Number(port), noDelay: true })),
    ),
  )
  waitsMs.sort((a, b) => a - b)
  const at = (share: number): number => waitsMs[Math.floor(waitsMs.length * share)] ?? Number.NaN
  const seconds = (performance.now() - startMs) / 1000
  return { byStatus, responses, bodyBytes, seconds, p50: at(0.5), p99: at(0.99) }
}
