import test from 'ava'
import fc from 'fast-check'
import { readChunkSize } from '../../../proxy/http/chunk-size.ts'
import { ChunkedReader } from '../../../proxy/http/chunked.ts'
import { readAuthority, splitTarget } from '../../../proxy/http/path.ts'

const bytesOf = (text: string): Buffer => Buffer.from(text, 'latin1')

/** Reads a body given in `pieces`: what it holds and what follows it, or how it failed. */
function read(pieces: readonly string[]): { body: string; rest: string } | 'more' | 'malformed' {
  const reader = new ChunkedReader()
  let body = ''
  for (const [index, piece] of pieces.entries()) {
    const bytes = bytesOf(piece)
    const found: Buffer[] = []
    const step = reader.read(bytes, 0, found)
    body += Buffer.concat(found).toString('latin1')
    if (step === 'malformed') return 'malformed'
    if (step === 'done') {
      const rest = bytes.toString('latin1', reader.next) + pieces.slice(index + 1).join('')
      return { body, rest }
    }
  }
  return 'more'
}

const BODY = '5\r\nhello\r\n0006\r\n world\r\n1\r\n!\r\n0\r\n\r\n'

test('ChunkedReader reads a body cut in two anywhere, and byte by byte', (t) => {
  const wanted = { body: 'hello world!', rest: 'GET ' }
  const text = `${BODY}GET `
  for (let cut = 0; cut <= text.length; cut += 1) {
    t.deepEqual(read([text.slice(0, cut), text.slice(cut)]), wanted, `cut at ${cut}`)
  }
  t.deepEqual(read(Array.from(text)), wanted)
  t.is(read([BODY.slice(0, -1)]), 'more')
})

test('ChunkedReader reads past trailers and carries none', (t) => {
  const text = '1\r\na\r\n0\r\nHost: evil\r\nX-A: b\r\n\r\nnext'
  t.deepEqual(read([text]), { body: 'a', rest: 'next' })
  t.deepEqual(read(Array.from(text)), { body: 'a', rest: 'next' })
})

const MALFORMED: Readonly<Record<string, string>> = {
  'an extension': '5;a=b\r\nhello\r\n0\r\n\r\n',
  'a space after the size': '5 \r\nhello\r\n0\r\n\r\n',
  'a space before the size': ' 5\r\nhello\r\n0\r\n\r\n',
  'a prefix 0x': '0x5\r\nhello\r\n0\r\n\r\n',
  'a sign': '+5\r\nhello\r\n0\r\n\r\n',
  'a negative size': '-5\r\nhello\r\n0\r\n\r\n',
  'an empty size': '\r\nhello\r\n0\r\n\r\n',
  'a bare LF after the size': '5\nhello\r\n0\r\n\r\n',
  'a bare LF after the data': '5\r\nhello\n0\r\n\r\n',
  'a bare CR after the data': '5\r\nhello\rX0\r\n\r\n',
  'data longer than its size': '5\r\nhello!\r\n0\r\n\r\n',
  'data shorter than its size': '6\r\nhello\r\n0\r\n\r\n',
  'a size past any body': 'fffffffffffffff\r\n',
  'an underscore in the size': '1_0\r\n',
  'a bare LF in the trailer': '0\r\na: b\n\r\n',
  'a folded trailer': '0\r\na: b\r\n c\r\n\r\n',
  'a trailer without colon': '0\r\nabc\r\n\r\n',
  'a trailer with a NUL': '0\r\na: b\0\r\n\r\n',
  'a trailer without end': `0\r\na: ${'b'.repeat(9000)}`,
}

for (const [what, text] of Object.entries(MALFORMED)) {
  test(`ChunkedReader refuses ${what}, whole and byte by byte`, (t) => {
    t.is(read([text]), 'malformed')
    t.is(read(Array.from(text)), 'malformed')
  })
}

test('readChunkSize() takes exactly the hex digits', (t) => {
  for (let byte = 0; byte < 256; byte += 1) {
    const isDigit = /[0-9a-fA-F]/.test(String.fromCharCode(byte))
    const kind = readChunkSize(Buffer.from([byte, 0x0d, 0x0a]), 0).kind
    t.is(kind, isDigit ? 'size' : 'malformed', `byte ${byte}`)
  }
})

test('ChunkedReader gives back any body in any cut (1000 random ones)', (t) => {
  const property = (): void =>
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 20 }), { maxLength: 40 }),
        (chunks, cuts) => {
          const plain = chunks.map((chunk) => Buffer.from(chunk).toString('latin1'))
          let text = `${plain.map((one) => `${one.length.toString(16)}\r\n${one}\r\n`).join('')}0\r\n\r\n`
          const pieces: string[] = []
          for (const cut of cuts) {
            pieces.push(text.slice(0, cut))
            text = text.slice(cut)
          }
          const result = read([...pieces, text])
          return typeof result === 'object' && result.body === plain.join('') && result.rest === ''
        },
      ),
      { numRuns: 1000 },
    )
  t.notThrows(property)
})

test('splitTarget() tells the four forms apart', (t) => {
  t.deepEqual(splitTarget('GET', '/a?b'), { kind: 'origin', path: '/a?b' })
  const absolute = { kind: 'absolute', authority: 'A:1', path: '/a?b' } as const
  t.deepEqual(splitTarget('GET', 'HTTP://A:1/a?b'), { ...absolute, isSecure: false })
  t.deepEqual(splitTarget('GET', 'https://A:1/a?b'), { ...absolute, isSecure: true })
  t.deepEqual(splitTarget('CONNECT', 'a:1'), { kind: 'authority', authority: 'a:1' })
  t.deepEqual(splitTarget('OPTIONS', '*'), { kind: 'asterisk' })
  for (const [method, target] of [
    ['GET', '*'],
    ['GET', 'a'],
    ['GET', 'ftp://a/'],
    ['GET', 'http:///a'],
    ['GET', 'http://a?b'],
    ['GET', 'http://a_b/'],
    ['GET', 'http://a:/'],
    ['GET', 'http://u@a/'],
    ['CONNECT', 'a:0'],
    ['CONNECT', 'http://a/'],
  ] as const) {
    t.deepEqual(splitTarget(method, target), { kind: 'malformed' }, `${method} ${target}`)
  }
})

test('readAuthority() reads hosts in lower case and refuses what names none', (t) => {
  t.deepEqual(readAuthority('A.b:080'), { host: 'a.b', port: 80 })
  t.deepEqual(readAuthority('[2001:DB8::1]'), { host: '2001:db8::1', port: 0 })
  for (const text of [
    '',
    ':80',
    'a:',
    'a:x',
    'a:99999',
    'a b',
    'a\0b',
    'good.example\0.evil',
    'ä',
    'a。b',
    '::1',
    '[::1',
    'a:80:80',
    'u@a',
    'a,b',
  ]) {
    t.is(readAuthority(text), undefined, text)
  }
})
