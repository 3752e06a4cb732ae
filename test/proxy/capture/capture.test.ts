import test from 'ava'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { readClientHello } from '../../../proxy/capture/client-hello.ts'
import { type Detected, detectProtocol } from '../../../proxy/capture/detect.ts'
import { inboundDetector } from '../../../proxy/capture/detect-inbound.ts'
import { readSocksGreeting, readSocksRequest } from '../../../proxy/capture/socks5.ts'

const bytesOf = (text: string): Buffer => Buffer.from(text, 'latin1')

const FIRST_BYTES: Readonly<Record<string, readonly [text: string, detected: Detected]>> = {
  'a ClientHello': ['\x16\x03\x01\x02\x00', 'tls'],
  'a SOCKS5 greeting': ['\x05\x01\x00', 'socks5'],
  'a request': ['GET / HTTP/1.1\r\n', 'http1'],
  'a POST, which starts like the preface': ['POST / HTTP/1.1\r\n', 'http1'],
  'the preface of HTTP/2': ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'http2'],
  'a lower-case method': ['get / HTTP/1.1\r\n', 'other'],
  SSH: ['SSH-2.0-OpenSSH_9\r\n', 'other'],
  'a Redis command': ['*1\r\n$4\r\nPING\r\n', 'other'],
  'letters without end': ['ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'other'],
}

for (const [what, [text, detected]] of Object.entries(FIRST_BYTES)) {
  test(`detectProtocol() tells ${what}, and is not misled by a part of it`, (t) => {
    t.is(detectProtocol(bytesOf(text)), detected)
    for (let end = 0; end < text.length; end += 1) {
      t.true(
        ['need-more', detected].includes(detectProtocol(bytesOf(text.slice(0, end)))),
        `${end}`,
      )
    }
  })
}

test('readSocksGreeting() takes clients that need no authentication', (t) => {
  t.is(readSocksGreeting(Buffer.from([5])).kind, 'need-more')
  t.is(readSocksGreeting(Buffer.from([5, 2, 0])).kind, 'need-more')
  t.like(readSocksGreeting(Buffer.from([5, 2, 2, 0, 9])), { kind: 'greeted', next: 4 })
  t.is(readSocksGreeting(Buffer.from([5, 1, 2])).kind, 'refused')
})

test('readSocksRequest() reads names and addresses, cut anywhere', (t) => {
  const cases: readonly (readonly [bytes: number[], host: string])[] = [
    [[5, 1, 0, 3, 6, ...bytesOf('Qotm.a'), 0x1f, 0x90], 'qotm.a'],
    [[5, 1, 0, 1, 10, 0, 0, 7, 0x1f, 0x90], '10.0.0.7'],
    [
      [5, 1, 0, 4, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x1f, 0x90],
      '2001:db8:0:0:0:0:0:1',
    ],
  ]
  for (const [bytes, host] of cases) {
    t.deepEqual(readSocksRequest(Buffer.from(bytes)), {
      kind: 'connect',
      host,
      port: 8080,
      next: bytes.length,
    })
    for (let end = 0; end < bytes.length; end += 1) {
      t.is(readSocksRequest(Buffer.from(bytes.slice(0, end))).kind, 'need-more')
    }
  }
})

test('readSocksRequest() refuses what it cannot do', (t) => {
  t.is(readSocksRequest(Buffer.from([5, 2, 0, 1, 1, 1, 1, 1, 0, 80])).kind, 'refused')
  t.is(readSocksRequest(Buffer.from([5, 1, 0, 9, 1, 1, 1, 1, 0, 80])).kind, 'refused')
  t.is(readSocksRequest(Buffer.from([4, 1, 0, 1, 1, 1, 1, 1, 0, 80])).kind, 'refused')
  t.is(readSocksRequest(Buffer.from([5, 1, 0, 3, 3, 97, 0, 98, 0, 80])).kind, 'refused')
})

/** What OpenSSL says first. */
async function realHello(options: object): Promise<Buffer> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const at = server.address()
  const port = typeof at === 'object' && at ? at.port : 0
  const accepted = once(server, 'connection')
  const raw = connect({ host: '127.0.0.1', port })
  const client = connectTls({ socket: raw, rejectUnauthorized: false, ...options })
  client.on('error', () => {})
  raw.on('error', () => {})
  const [socket] = (await accepted) as [import('node:net').Socket]
  socket.on('error', () => {})
  const [bytes] = (await once(socket, 'data')) as [Buffer]
  client.destroy()
  socket.destroy()
  server.close()
  return bytes
}

/** The same message in records of `size` bytes. */
function divided(hello: Buffer, size: number): Buffer {
  const message = hello.subarray(5)
  const records: Buffer[] = []
  for (let at = 0; at < message.length; at += size) {
    const part = message.subarray(at, at + size)
    records.push(Buffer.from([0x16, 3, 1, part.length >> 8, part.length & 0xff]), part)
  }
  return Buffer.concat(records)
}

test('readClientHello() reads what is offered, cut anywhere, in one record or many', async (t) => {
  const hello = await realHello({ servername: 'A.example', ALPNProtocols: ['istio', 'h2'] })
  const wanted = { alpn: ['istio', 'h2'], sni: 'A.example' }
  t.deepEqual(readClientHello(hello), wanted)
  t.deepEqual(readClientHello(Buffer.concat([hello, Buffer.from('more')])), wanted)
  for (const size of [200, 700, hello.length]) {
    const records = divided(hello, size)
    t.deepEqual(readClientHello(records), wanted, `records of ${size}`)
    for (let end = 0; end < records.length; end += 3) {
      t.is(readClientHello(records.subarray(0, end)), 'need-more', `${size}: ${end}`)
    }
  }
  t.is(readClientHello(divided(hello, 7)), 'not-tls', 'no client divides it so')
  t.deepEqual(readClientHello(await realHello({})), { alpn: [], sni: undefined })
})

test('readClientHello() never throws and never waits beyond a message, whatever comes', async (t) => {
  const hello = await realHello({ servername: 'a.example', ALPNProtocols: ['istio'] })
  const full = Buffer.concat([hello, Buffer.alloc(20_000)])
  const readings: Record<string, number> = {}
  for (let at = 0; at < hello.length; at += 1) {
    for (const byte of [0, 0xff]) {
      const broken = Buffer.from(full)
      broken[at] = byte
      const reading = readClientHello(broken)
      const kind = typeof reading === 'string' ? reading : 'read'
      readings[kind] = (readings[kind] ?? 0) + 1
    }
  }
  t.true((readings['not-tls'] ?? 0) > 10 && (readings['read'] ?? 0) > 100, JSON.stringify(readings))
  t.is(readings['need-more'] ?? 0, 0)
  for (const text of ['\x16abc', 'GET / HTTP/1.1', '\x15\x03\x01', '\x16\x03\x01\x00\x00']) {
    t.is(readClientHello(bytesOf(text)), 'not-tls', text)
  }
})

/** First lines on a port that detects, as Envoy 1.40 told them apart. */
const FIRST_LINES: Readonly<Record<string, 'http' | 'http2' | 'opaque'>> = {
  'GET / HTTP/1.1\r\n': 'http',
  'GET / HTTP/1.1\n': 'http',
  'get / HTTP/1.1\r\n': 'http',
  'M-SEARCH * HTTP/1.1\r\n': 'http',
  '123 / HTTP/1.1\r\n': 'http',
  'GET  / HTTP/1.1\r\n': 'http',
  'GET / HTTP/1.0\r\n': 'opaque',
  'GET / HTTP/1.2\r\n': 'opaque',
  'GET / http/1.1\r\n': 'opaque',
  'GET / HTTP/11.1\r\n': 'opaque',
  'GET a b HTTP/1.1\r\n': 'opaque',
  'GET /\r\n': 'opaque',
  'hello\n': 'opaque',
  '{ / HTTP/1.1\r\n': 'opaque',
  ' GET / HTTP/1.1\r\n': 'opaque',
  '*1\r\n$4\r\nPING\r\n': 'opaque',
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n': 'http2',
  'PRI * HTTP/1.1\r\n': 'http',
}

test('§0.7 row 5: a port that detects waits for the first line, and tells HTTP/1.1 and HTTP/2 by all of it', (t) => {
  const detect = inboundDetector({ mtls: 'DISABLE', protocol: 'auto' })
  for (const [line, kind] of Object.entries(FIRST_LINES)) {
    t.deepEqual(detect(bytesOf(line)), { kind }, line)
    for (let end = 0; end < line.length; end += 1) {
      const early = detect(bytesOf(line.slice(0, end)))
      t.true(early === 'need-more' || early.kind === kind, `${line}: ${end}`)
    }
  }
})
