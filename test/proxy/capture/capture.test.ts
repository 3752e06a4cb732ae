import test from 'ava'
import { type Detected, detectProtocol } from '../../../proxy/capture/detect.ts'
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
