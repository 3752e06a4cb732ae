/** Bytes to and from a socket, and an app that keeps every request it got. */
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** A client that sends exactly what it is told. */
export interface RawClient extends Disposable {
  readonly socket: Socket
  readonly send: (text: string | Buffer) => void
  /** Everything received so far, latin1. */
  readonly received: () => string
  /** Waits until `wanted` occurs (in what came after the last match) and returns up to its end. */
  readonly until: (wanted: string) => Promise<string>
  /** Waits for the other side's end and returns all that came. */
  readonly end: () => Promise<string>
}

const WAIT_MS = 5000

export async function openRaw(address: string): Promise<RawClient> {
  const [host = '', port = ''] = address.split(':')
  const socket = connect({ host, port: Number(port), noDelay: true, allowHalfOpen: true })
  await once(socket, 'connect')
  return rawClient(socket)
}

export function rawClient(socket: Socket): RawClient {
  let text = ''
  let from = 0
  let ended = false
  socket.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1')
  })
  socket.on('error', () => {
    ended = true
  })
  socket.on('end', () => {
    ended = true
  })
  socket.on('close', () => {
    ended = true
  })
  const wait = async (done: () => boolean, what: string): Promise<void> => {
    for (let waited = 0; !done(); waited += 5) {
      if (waited > WAIT_MS)
        throw new Error(`no ${what} within ${WAIT_MS} ms, got ${JSON.stringify(text)}`)
      await sleep(5)
    }
  }
  return {
    socket,
    send: (bytes) =>
      void (typeof bytes === 'string' ? socket.write(bytes, 'latin1') : socket.write(bytes)),
    received: () => text,
    async until(wanted) {
      await wait(() => text.indexOf(wanted, from) >= 0 || ended, JSON.stringify(wanted))
      const at = text.indexOf(wanted, from)
      if (at < 0)
        throw new Error(
          `the connection ended before ${JSON.stringify(wanted)}: ${JSON.stringify(text)}`,
        )
      const part = text.slice(from, at + wanted.length)
      from = at + wanted.length
      return part
    },
    async end() {
      await wait(() => ended, 'end')
      return text
    },
    [Symbol.dispose]: () => void socket.destroy(),
  }
}

/** An app of raw sockets: what each connection does is the test's. */
export interface RawApp extends AsyncDisposable {
  readonly address: string
  readonly sockets: readonly Socket[]
  /** All bytes that came, latin1, by connection. */
  readonly received: readonly string[]
}

export async function openRawApp(
  onData: (socket: Socket, text: string, connection: number) => void,
): Promise<RawApp> {
  const sockets: Socket[] = []
  const received: string[] = []
  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const connection = sockets.push(socket) - 1
    received.push('')
    socket.on('error', () => {})
    socket.on('data', (bytes: Buffer) => {
      received[connection] += bytes.toString('latin1')
      onData(socket, bytes.toString('latin1'), connection)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return {
    address: `127.0.0.1:${port}`,
    sockets,
    received,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Answers every request that has no body with its request line; counts them. */
export async function openEchoApp(): Promise<RawApp & { readonly requests: readonly string[] }> {
  const requests: string[] = []
  const held = new Map<number, string>()
  const app = await openRawApp((socket, text, connection) => {
    let rest = (held.get(connection) ?? '') + text
    for (let end = rest.indexOf('\r\n\r\n'); end >= 0; end = rest.indexOf('\r\n\r\n')) {
      const head = rest.slice(0, end + 4)
      const length = Number(/\r\ncontent-length: (\d+)/.exec(head)?.[1] ?? 0)
      const isChunked = head.includes('\r\ntransfer-encoding: chunked')
      const bodyEnd = isChunked ? rest.indexOf('0\r\n\r\n', end + 4) + 5 : end + 4 + length
      if (rest.length < bodyEnd || bodyEnd < end + 4) break
      requests.push(rest.slice(0, bodyEnd))
      rest = rest.slice(bodyEnd)
      const body = `${head.slice(0, head.indexOf('\r\n'))}\n`
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
    }
    held.set(connection, rest)
  })
  return { ...app, requests }
}
