import test from 'ava'
import fc from 'fast-check'
import { FRAMING } from '../../../proxy/http/body.ts'
import { FAULTY, NEED_MORE } from '../../../proxy/http/field-block.ts'
import { MAX_HEAD_BYTES, type RequestFault, RequestHead } from '../../../proxy/http/request-head.ts'
import { ResponseHead } from '../../../proxy/http/response-head.ts'
import { serializeRequest, serializeResponse } from '../../../proxy/http/serialize.ts'

const bytesOf = (text: string): Buffer => Buffer.from(text, 'latin1')

/** Reads a head given whole: what it says, or its fault. */
function read(text: string): RequestHead | string {
  const head = new RequestHead()
  const bytes = bytesOf(text)
  const at = head.read(bytes, 0, bytes.length)
  if (at === NEED_MORE) return 'need-more'
  return at === FAULTY ? head.fault : head
}

function accepted(text: string): RequestHead {
  const head = read(text)
  if (typeof head === 'string') throw new Error(`refused: ${head}`)
  return head
}

const GET = 'GET /a/b?c=d HTTP/1.1\r\nHost: shop.example:8080\r\nAccept: */*\r\n\r\n'

test('RequestHead reads a plain request', (t) => {
  const head = accepted(GET)
  t.is(head.method, 'GET')
  t.is(head.target, '/a/b?c=d')
  t.is(head.authority, 'shop.example:8080')
  t.is(head.framing, FRAMING.none)
  t.true(head.keepAlive)
  t.deepEqual(head.fields.values('accept'), ['*/*'])
})

test('§0.8.10 a fragment is cut before anything else is done with the target', (t) => {
  for (const [written, target] of [
    ['/a#b', '/a'],
    ['/a?c=d#e?f', '/a?c=d'],
    ['/#', '/'],
    ['/a##/../b', '/a'],
    ['http://a/b#c', '/b'],
  ] as const) {
    const head = accepted(`GET ${written} HTTP/1.1\r\nHost: a\r\n\r\n`)
    t.is(head.target, target)
    t.is(serializeRequest(head, { added: '' }).split('\r\n', 1)[0], `GET ${target} HTTP/1.1`)
  }
  const head = accepted('GET /a#b HTTP/1.1\r\nHost: a\r\nx: y\r\n\r\n')
  t.is(serializeRequest(head, { added: '' }), 'GET /a HTTP/1.1\r\nhost: a\r\nx: y\r\n\r\n')
  t.is(read('GET /a#b'), 'need-more')
  t.is(read('GET /a#b\x7f HTTP/1.1\r\nHost: a\r\n\r\n'), 'target-malformed')
})

/** Each is a request with one thing wrong, or one thing that servers disagree about. */
const REFUSED: Readonly<Record<string, readonly [text: string, fault: RequestFault]>> = {
  'a bare LF after the request line': ['GET / HTTP/1.1\nHost: a\r\n\r\n', 'request-line-malformed'],
  'a bare LF after a field': ['GET / HTTP/1.1\r\nHost: a\n\r\n', 'bare-lf'],
  'a bare LF as the empty line': ['GET / HTTP/1.1\r\nHost: a\r\n\n', 'bare-lf'],
  'a bare CR in a value': ['GET / HTTP/1.1\r\nHost: a\r\nx: b\rc\r\n\r\n', 'field-value-malformed'],
  'a NUL in a value': ['GET / HTTP/1.1\r\nHost: a\r\nx: b\0c\r\n\r\n', 'field-value-malformed'],
  'DEL in a value': ['GET / HTTP/1.1\r\nHost: a\r\nx: b\x7f\r\n\r\n', 'field-value-malformed'],
  'obsolete folding': ['GET / HTTP/1.1\r\nHost: a\r\nx: b\r\n c\r\n\r\n', 'obsolete-folding'],
  'a tab before the first field': ['GET / HTTP/1.1\r\n\tHost: a\r\n\r\n', 'obsolete-folding'],
  'space before the colon': ['GET / HTTP/1.1\r\nHost : a\r\n\r\n', 'field-name-malformed'],
  'an empty field name': ['GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n', 'field-name-malformed'],
  'a field without colon': ['GET / HTTP/1.1\r\nHost: a\r\nabc\r\n\r\n', 'field-name-malformed'],
  'a non-ASCII field name': [
    'GET / HTTP/1.1\r\nHost: a\r\n\xfcx: b\r\n\r\n',
    'field-name-malformed',
  ],
  'TE and CL': [
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n',
    'length-and-encoding',
  ],
  'CL and TE': [
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n',
    'length-and-encoding',
  ],
  'two different CL': [
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n',
    'content-length-repeated',
  ],
  'two equal CL': [
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n',
    'content-length-repeated',
  ],
  'CL with a sign': [
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\n',
    'content-length-malformed',
  ],
  'a CL list': [
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\n\r\n',
    'content-length-malformed',
  ],
  'a negative CL': [
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n',
    'content-length-malformed',
  ],
  'a hex CL': [
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x4\r\n\r\n',
    'content-length-malformed',
  ],
  'an empty CL': [
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n',
    'content-length-malformed',
  ],
  'a CL past any integer': [
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n',
    'content-length-malformed',
  ],
  'TE twice': [
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n',
    'transfer-encoding-repeated',
  ],
  xchunked: [
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n',
    'transfer-encoding-unsupported',
  ],
  'chunked, identity': [
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n',
    'transfer-encoding-unsupported',
  ],
  'gzip, chunked': [
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n',
    'transfer-encoding-unsupported',
  ],
  'TE with a vertical tab': [
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n',
    'field-value-malformed',
  ],
  'no Host': ['GET / HTTP/1.1\r\nAccept: a\r\n\r\n', 'host-missing'],
  'two Hosts': ['GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 'host-repeated'],
  'two equal Hosts': ['GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n', 'host-repeated'],
  'a Host with user information': ['GET / HTTP/1.1\r\nHost: a@b\r\n\r\n', 'host-malformed'],
  'a Host with a path': ['GET / HTTP/1.1\r\nHost: a/b\r\n\r\n', 'host-malformed'],
  'a Host with a dot that is none in ASCII (users §2.1.8)': [
    'GET / HTTP/1.1\r\nHost: good\xe2\x80\xa4example\r\n\r\n',
    'host-malformed',
  ],
  'a NUL in the Host (users §2.1.9)': [
    'GET / HTTP/1.1\r\nHost: good.example\0.evil\r\n\r\n',
    'field-value-malformed',
  ],
  'a Host list': ['GET / HTTP/1.1\r\nHost: a, b\r\n\r\n', 'host-malformed'],
  'a target with a port past 65535': [
    'GET http://a:65536/ HTTP/1.1\r\nHost: a\r\n\r\n',
    'target-malformed',
  ],
  'a lower-case method': ['get / HTTP/1.1\r\nHost: a\r\n\r\n', 'request-line-malformed'],
  'a mixed-case method': ['Get / HTTP/1.1\r\nHost: a\r\n\r\n', 'request-line-malformed'],
  'an unknown method': ['BREW / HTTP/1.1\r\nHost: a\r\n\r\n', 'method-unknown'],
  '§0.8.16 RequestHead refuses HTTP/1.0': [
    'GET / HTTP/1.0\r\nHost: a\r\n\r\n',
    'version-unsupported',
  ],
  'HTTP/1.2': ['GET / HTTP/1.2\r\nHost: a\r\n\r\n', 'version-unsupported'],
  'HTTP/2.1': ['GET / HTTP/2.1\r\nHost: a\r\n\r\n', 'version-unsupported'],
  'HTTP/0.9': ['GET /\r\n', 'version-unsupported'],
  'a lower-case version': ['GET / http/1.1\r\nHost: a\r\n\r\n', 'request-line-malformed'],
  'a version with more digits': ['GET / HTTP/1.10\r\nHost: a\r\n\r\n', 'request-line-malformed'],
  'two spaces': ['GET  / HTTP/1.1\r\nHost: a\r\n\r\n', 'target-malformed'],
  'a space in the target': ['GET /a b HTTP/1.1\r\nHost: a\r\n\r\n', 'request-line-malformed'],
  'a tab in the target': ['GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n', 'target-malformed'],
  'a fragment and nothing else': ['GET #b HTTP/1.1\r\nHost: a\r\n\r\n', 'target-malformed'],
  'a NUL in the target': ['GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n', 'target-malformed'],
  'raw UTF-8 in the target': ['GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n', 'target-malformed'],
  'a relative target': ['GET a HTTP/1.1\r\nHost: a\r\n\r\n', 'target-malformed'],
  'a target of a query alone': ['GET ?x HTTP/1.1\r\nHost: a\r\n\r\n', 'target-malformed'],
  'an asterisk with GET': ['GET * HTTP/1.1\r\nHost: a\r\n\r\n', 'target-malformed'],
  'a query and no path in absolute form': [
    'GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n',
    'target-malformed',
  ],
  'user information in absolute form': [
    'GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n',
    'target-malformed',
  ],
  'CONNECT without a port': ['CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n', 'target-malformed'],
  'CONNECT with a path': ['CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n', 'target-malformed'],
  'CONNECT with a body': [
    'CONNECT a:80 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n',
    'connect-with-body',
  ],
  'a leading empty line': ['\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n', 'request-line-malformed'],
  'Connection naming Host': [
    'GET / HTTP/1.1\r\nHost: a\r\nConnection: close, host\r\n\r\n',
    'connection-names-forbidden-field',
  ],
  'Connection naming Authorization': [
    'GET / HTTP/1.1\r\nHost: a\r\nAuthorization: b\r\nConnection: authorization\r\n\r\n',
    'connection-names-forbidden-field',
  ],
  'Connection naming an x- field': [
    'GET / HTTP/1.1\r\nHost: a\r\nx-user: b\r\nConnection: x-user\r\n\r\n',
    'connection-names-forbidden-field',
  ],
  'an unknown expectation': [
    'GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n',
    'expectation-unknown',
  ],
  'more than 100 fields': [
    `GET / HTTP/1.1\r\nHost: a\r\n${'x: y\r\n'.repeat(100)}\r\n`,
    'too-many-fields',
  ],
  'a head past its limit': [
    `GET / HTTP/1.1\r\nHost: a\r\nx: ${'y'.repeat(MAX_HEAD_BYTES)}\r\n\r\n`,
    'head-too-large',
  ],
  'a head past its limit that never ends': [`GET /${'y'.repeat(MAX_HEAD_BYTES)}`, 'head-too-large'],
  'a method without end': ['G'.repeat(40), 'method-unknown'],
  'the preface of HTTP/2': ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'method-unknown'],
}

for (const [what, [text, fault]] of Object.entries(REFUSED)) {
  test(what.startsWith('§') ? what : `RequestHead refuses ${what}`, (t) => {
    t.is(read(text), fault)
  })
}

test('RequestHead refuses alike, wherever a read ends', (t) => {
  for (const [what, [text, fault]] of Object.entries(REFUSED)) {
    if (text.length > 2000) continue
    for (let end = 0; end <= text.length; end += 1) {
      const head = new RequestHead()
      const at = head.read(bytesOf(text.slice(0, end)), 0, end)
      if (at === FAULTY) t.is(head.fault, fault, `${what}, ${end} bytes`)
      else t.is(at, NEED_MORE, `${what} was taken with ${end} bytes`)
    }
  }
})

test('RequestHead asks for more until the head is whole, and never reads on', (t) => {
  const text = `${GET}rest`
  for (let end = 0; end <= text.length; end += 1) {
    const head = new RequestHead()
    const bytes = bytesOf(`junk${text}`)
    const at = head.read(bytes, 4, 4 + end)
    t.is(at, end < GET.length ? NEED_MORE : 4 + GET.length)
  }
})

test('RequestHead judges every byte alike in name, value and target', (t) => {
  for (let byte = 0; byte < 256; byte += 1) {
    const char = String.fromCharCode(byte)
    const isToken = /[!#$%&'*+.^_`|~0-9A-Za-z-]/.test(char)
    const name = read(`GET / HTTP/1.1\r\nHost: a\r\na${char}b: c\r\n\r\n`)
    t.is(typeof name !== 'string', isToken || char === ':', `name ${byte}`)
    const value = read(`GET / HTTP/1.1\r\nHost: a\r\nx: a${char}b\r\n\r\n`)
    t.is(typeof value !== 'string', byte === 9 || (byte >= 32 && byte !== 127), `value ${byte}`)
    const target = read(`GET /a${char}b HTTP/1.1\r\nHost: a\r\n\r\n`)
    t.is(typeof target !== 'string', byte > 32 && byte < 127, `target ${byte}`)
    const method = read(`${char}ET / HTTP/1.1\r\nHost: a\r\n\r\n`)
    t.is(typeof method !== 'string', char === 'G', `method ${byte}`)
  }
})

test('RequestHead takes what is odd but clear', (t) => {
  t.is(accepted('OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n').target, '*')
  t.is(accepted('GET /a;b=1//..%2f%2F\\ HTTP/1.1\r\nHost: a\r\n\r\n').target, '/a;b=1//..%2f%2F\\')
  t.is(accepted('GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n').authority, '[::1]:80')
  t.is(accepted('GET / HTTP/1.1\r\nHost: a\r\nx:\r\n\r\n').fields.first('x'), '')
  t.is(accepted('GET / HTTP/1.1\r\nHost: a\r\nx: \t b c \t\r\n\r\n').fields.first('x'), 'b c')
  t.deepEqual(
    accepted('GET / HTTP/1.1\r\nHost: a\r\nX_y: 1\r\nx_Y: 2\r\n\r\n').fields.values('x_y'),
    ['1', '2'],
  )
  t.is(accepted('GET / HTTP/1.1\r\nHost: a\r\n__proto__: b\r\n\r\n').fields.first('__proto__'), 'b')
})

test('RequestHead lets the target overrule Host', (t) => {
  const head = accepted('GET http://Real.example:81/p?q HTTP/1.1\r\nHost: other\r\n\r\n')
  t.is(head.authority, 'Real.example:81')
  t.is(head.target, '/p?q')
  t.is(serializeRequest(head, { added: '' }), 'GET /p?q HTTP/1.1\r\nhost: Real.example:81\r\n\r\n')
  t.is(accepted('GET http://a HTTP/1.1\r\nHost: b\r\n\r\n').target, '/')
  t.is(accepted('GET http://a/?q HTTP/1.1\r\nHost: b\r\n\r\n').target, '/?q')
  t.is(accepted('CONNECT a.b:443 HTTP/1.1\r\nHost: x\r\n\r\n').authority, 'a.b:443')
})

test('RequestHead is filled anew by each read', (t) => {
  const head = new RequestHead()
  const first = bytesOf(
    'POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\nx-request-id: i\r\nExpect: 100-continue\r\n\r\n',
  )
  t.is(head.read(first, 0, first.length), first.length)
  t.deepEqual(
    [head.keepAlive, head.framing, head.contentLength, head.hasRequestId, head.expectsContinue],
    [false, FRAMING.length, 3, true, true],
  )
  const second = bytesOf(GET)
  t.is(head.read(second, 0, second.length), second.length)
  t.deepEqual(
    [head.keepAlive, head.framing, head.contentLength, head.hasRequestId, head.expectsContinue],
    [true, FRAMING.none, 0, false, false],
  )
  t.true(head.fields.isWhole)
})

test('serializeRequest() carries a plain head on whole, names in lower case', (t) => {
  const text = 'GET /a%2fB HTTP/1.1\r\nHost: A\r\nX-One:  1\r\nAccept: */*\r\nX-One: 2\r\n\r\n'
  t.is(
    serializeRequest(accepted(text), { added: 'x-added: 3\r\n' }),
    'GET /a%2fB HTTP/1.1\r\nhost: A\r\nx-one:  1\r\naccept: */*\r\nx-one: 2\r\nx-added: 3\r\n\r\n',
  )
})

test('serializeRequest() leaves out what ends here, and what only a sidecar may say (users §2.3.44)', (t) => {
  const head = accepted(
    'GET / HTTP/1.1\r\nKeep-Alive: 5\r\nHost: a\r\nConnection: keep-alive, hop-a\r\nHop-A: 1\r\nTE: trailers\r\n' +
      'Proxy-Authorization: b\r\nAccept: c\r\nX-Forwarded-Client-Cert: URI=spiffe://evil\r\n' +
      'X-Envoy-Internal: true\r\nX-Redoubt-Decision: 1\r\nUpgrade: h2c\r\nTrailer: d\r\nLast: e\r\n\r\n',
  )
  t.is(
    serializeRequest(head, { added: '' }),
    'GET / HTTP/1.1\r\nhost: a\r\naccept: c\r\nlast: e\r\n\r\n',
  )
  t.is(head.fields.first('hop-a'), undefined)
  t.deepEqual(head.fields.values('x-forwarded-client-cert'), [])
})

test('serializeRequest() frames the body anew', (t) => {
  const chunked = accepted(
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nb: c\r\n\r\n',
  )
  t.is(
    serializeRequest(chunked, { added: '' }),
    'POST / HTTP/1.1\r\nhost: a\r\nb: c\r\ntransfer-encoding: chunked\r\n\r\n',
  )
  const length = accepted('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 012\r\n\r\n')
  t.is(length.contentLength, 12)
  t.is(
    serializeRequest(length, { added: '' }),
    'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 012\r\n\r\n',
  )
})

test('serializeRequest() carries an upgrade on, but none to HTTP', (t) => {
  const text = (protocol: string) =>
    `GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`
  t.is(
    serializeRequest(accepted(text('websocket')), { added: '' }),
    'GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n',
  )
  for (const protocol of ['h2c', 'H2C', 'websocket, h2c', 'HTTP/2.0']) {
    t.is(
      serializeRequest(accepted(text(protocol)), { added: '' }),
      'GET / HTTP/1.1\r\nhost: a\r\n\r\n',
    )
  }
  const unasked = accepted('GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n')
  t.is(unasked.upgrade, '')
})

test('serializeRequest() rewrites target and authority, again and again', (t) => {
  const head = accepted(GET)
  const edits = { target: '/new', authority: 'other', added: '' }
  const wanted = 'GET /new HTTP/1.1\r\nhost: other\r\naccept: */*\r\n\r\n'
  t.is(serializeRequest(head, edits), wanted)
  t.is(serializeRequest(head, edits), wanted)
})

/** What a request says, however its head was cut and spelt. */
const token = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/).filter((name) => name !== 'host')
const value = fc.stringMatching(/^[!-~]([ -~]{0,12}[!-~])?$/)

test('RequestHead and serializeRequest() carry every field in order (2000 random heads)', (t) => {
  const KNOWN =
    /^(connection|upgrade|te|expect|keep-alive|trailer|content-length|transfer-encoding|proxy-.*|x-.*)$/
  const property = (): void =>
    fc.assert(
      fc.property(fc.array(fc.tuple(token, value), { maxLength: 20 }), fc.nat(), (fields, cut) => {
        const plain = fields.filter(([name]) => !KNOWN.test(name))
        const lines = plain.map(([name, text]) => `${name.toUpperCase()}: ${text}\r\n`).join('')
        const text = `GET /x HTTP/1.1\r\nHost: a\r\n${lines}\r\n`
        const head = new RequestHead()
        const bytes = bytesOf(text)
        // A read that ends anywhere, then the whole.
        const first = head.read(bytes, 0, cut % bytes.length)
        const wanted = `GET /x HTTP/1.1\r\nhost: a\r\n${plain.map(([name, one]) => `${name}: ${one}\r\n`).join('')}\r\n`
        return (
          first === NEED_MORE &&
          head.read(bytes, 0, bytes.length) === bytes.length &&
          serializeRequest(head, { added: '' }) === wanted &&
          plain.every(
            ([name]) =>
              head.fields.values(name).length === plain.filter(([other]) => other === name).length,
          )
        )
      }),
      { numRuns: 2000 },
    )
  t.notThrows(property)
})

test('RequestHead never throws and never takes what it did not understand (random bytes)', (t) => {
  const property = (): void =>
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const head = new RequestHead()
        const at = head.read(Buffer.from(bytes), 0, bytes.length)
        return at === NEED_MORE || at === FAULTY
      }),
      { numRuns: 2000 },
    )
  t.notThrows(property)
})

function readResponse(text: string, method = 'GET'): ResponseHead | string {
  const head = new ResponseHead()
  const bytes = bytesOf(text)
  const at = head.read(bytes, 0, bytes.length, method)
  if (at === NEED_MORE) return 'need-more'
  return at === FAULTY ? head.fault : head
}

const RESPONSES: Readonly<
  Record<string, readonly [text: string, method: string, framing: number]>
> = {
  'a length': ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', 'GET', FRAMING.length],
  'a length of nothing': ['HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', 'GET', FRAMING.none],
  chunked: ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', 'GET', FRAMING.chunked],
  'the end of the connection': ['HTTP/1.1 200 OK\r\n\r\n', 'GET', FRAMING.close],
  'the end of an HTTP/1.0 connection': ['HTTP/1.0 200 OK\r\n\r\n', 'GET', FRAMING.close],
  'HEAD with a length': ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', 'HEAD', FRAMING.none],
  'HEAD with chunked': [
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
    'HEAD',
    FRAMING.none,
  ],
  204: ['HTTP/1.1 204 No Content\r\n\r\n', 'GET', FRAMING.none],
  '304 with a length': [
    'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n',
    'GET',
    FRAMING.none,
  ],
  100: ['HTTP/1.1 100 Continue\r\n\r\n', 'POST', FRAMING.none],
  101: [
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n',
    'GET',
    FRAMING.tunnel,
  ],
  'no reason': ['HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n', 'GET', FRAMING.length],
}

for (const [what, [text, method, framing]] of Object.entries(RESPONSES)) {
  test(`ResponseHead knows a body by ${what}, wherever a read ends`, (t) => {
    const head = readResponse(text, method)
    t.true(typeof head !== 'string' && head.framing === framing)
    for (let end = 0; end < text.length; end += 1) {
      t.is(readResponse(text.slice(0, end), method), 'need-more')
    }
  })
}

const BAD_RESPONSES: Readonly<Record<string, readonly [text: string, fault: string]>> = {
  'CL and TE': [
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n',
    'length-and-encoding',
  ],
  'two CL': [
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n',
    'content-length-repeated',
  ],
  'gzip, chunked': [
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n',
    'transfer-encoding-unsupported',
  ],
  'a bare LF': ['HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\n', 'status-line-malformed'],
  'HTTP/2': ['HTTP/2.0 200 OK\r\n\r\n', 'status-line-malformed'],
  'a status of two digits': ['HTTP/1.1 20 OK\r\n\r\n', 'status-line-malformed'],
  'a status past 599': ['HTTP/1.1 600 OK\r\n\r\n', 'status-line-malformed'],
  'a status below 100': ['HTTP/1.1 099 OK\r\n\r\n', 'status-line-malformed'],
  'a NUL in the reason': ['HTTP/1.1 200 O\0K\r\n\r\n', 'status-line-malformed'],
  'something else': ['SSH-2.0-OpenSSH\r\n', 'status-line-malformed'],
}

for (const [what, [text, fault]] of Object.entries(BAD_RESPONSES)) {
  test(`ResponseHead refuses ${what}`, (t) => {
    t.is(readResponse(text), fault)
  })
}

test('serializeResponse() writes HTTP/1.1, drops what ends here and frames anew', (t) => {
  const head = readResponse(
    'HTTP/1.0 200 Fine\r\nServer: x\r\nConnection: keep-alive\r\nKeep-Alive: timeout=7\r\nA: b\r\n\r\n',
  )
  if (typeof head === 'string') return t.fail(head)
  t.is(head.keepAliveSeconds, 7)
  t.true(head.keepAlive)
  t.is(
    serializeResponse(head, FRAMING.chunked, 'c: d\r\n'),
    'HTTP/1.1 200 Fine\r\nserver: x\r\na: b\r\nc: d\r\ntransfer-encoding: chunked\r\n\r\n',
  )
})
