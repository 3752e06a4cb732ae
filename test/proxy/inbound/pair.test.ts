/** Requests from app to app through two sidecars: real sockets, TLS and Casbin. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { RequestHead } from '../../../proxy/http/request-head.ts'
import { RequestAttributes } from '../../../proxy/inbound/attributes.ts'
import { compiledInbound, inboundBundle, openFakePair } from '#test/fakes/fake-sidecars.ts'
import { openEchoApp, openRaw, openRawApp } from '#test/fakes/raw-http.ts'
import { startSlowness } from '#test/fakes/slowness.ts'

const GET = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nhost: server\r\n${more}\r\n`

test('§1.3 row 5: a request goes from app to app, with identity, once', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(app.address)
  using client = await openRaw(pair.outbound)
  client.send(
    GET(
      '/a?b=%2F',
      'X-Forwarded-Client-Cert: URI=spiffe://evil\r\nX-Envoy-Peer: 1\r\nX-One: 2\r\n',
    ),
  )
  await client.until('GET /a?b=%2F HTTP/1.1\n')
  const [request = ''] = app.requests
  const [leaf = new Uint8Array()] = pair.client.svid.live.current.chain
  const hash = createHash('sha256').update(leaf).digest('hex')
  t.true(request.startsWith('GET /a?b=%2F HTTP/1.1\r\nhost: server\r\nx-one: 2\r\n'))
  t.regex(
    request,
    /\r\nx-request-id: [0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\r\n/,
  )
  t.regex(request, /\r\ntraceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]\r\n/)
  t.deepEqual(request.match(/\r\nx-forwarded-client-cert: .*/g), [
    `\r\nx-forwarded-client-cert: By=spiffe://cluster.local/ns/test/sa/server;Hash=${hash};Subject="";URI=spiffe://cluster.local/ns/test/sa/client`,
  ])
  t.false(request.includes('x-envoy-peer'))
  t.is(app.requests.length, 1)
})

test('§1.3 row 16: a denied request is 403 with the body and headers that clients know, and the connection goes on', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(app.address)
  using client = await openRaw(pair.outbound)
  client.send(GET('/forbidden/x'))
  const answer = await client.until('RBAC: access denied')
  t.true(answer.startsWith('HTTP/1.1 403 Forbidden\r\n'))
  t.regex(answer, /\r\ncontent-type: text\/plain\r\n/)
  t.regex(answer, /\r\nserver: istio-envoy\r\n/)
  const [, id = ''] = /\r\nx-redoubt-decision: ([0-9a-f]{32})\r\n/.exec(answer) ?? []
  t.is(pair.server.telemetry.decisions.find(id)?.id, id)
  client.send(GET('/x'))
  await client.until('GET /x HTTP/1.1\n')
  t.is(app.requests.length, 1)
})

test('a PeerAuthentication that is tried out refuses nobody, and tells with each decision what it would do', async (t) => {
  await using app = await openEchoApp()
  const mtlsDryRun = { mode: 'STRICT', policy: 'test/strict' } as const
  const bundle = inboundBundle({
    mtls: 'PERMISSIVE',
    ports: [{ port: 8080, name: 'http', protocol: 'http', mtls: 'PERMISSIVE', mtlsDryRun }],
    authorization: [],
  })
  const pair = await openFakePair(app.address, bundle)
  using client = await openRaw(pair.outbound)
  client.send(GET('/mutual'))
  await client.until('GET /mutual HTTP/1.1\n')
  using plain = await openRaw(pair.server.plane.inbound[8080] ?? '')
  for (const path of ['/plain', '/again']) {
    plain.send(GET(path))
    await plain.until(`GET ${path} HTTP/1.1\n`)
  }
  await pair[Symbol.asyncDispose]()
  const told = pair.server.log.map((line) => {
    const { path, dry_run: dryRun } = JSON.parse(line) as Record<string, unknown>
    return [path, dryRun]
  })
  const result = (word: string) => [
    { policy: 'test/strict', action: 'STRICT', result: word, rule: null },
  ]
  t.deepEqual(told, [
    ['/mutual', result('allowed')],
    ['/plain', result('denied')],
    ['/again', result('denied')],
  ])
})

test('what the app says of itself passes, but not a decision of ours', async (t) => {
  await using app = await openRawApp((socket) =>
    socket.write(
      'HTTP/1.1 200 OK\r\nServer: mine\r\nX-Redoubt-Decision: forged\r\nContent-Length: 2\r\n\r\nok',
    ),
  )
  await using pair = await openFakePair(app.address)
  using client = await openRaw(pair.outbound)
  client.send(GET('/'))
  const answer = await client.until('\r\n\r\nok')
  t.true(answer.includes('server: mine\r\n'))
  t.false(answer.includes('x-redoubt-decision'))
})

/** Sent raw to a sidecar: the status, and that nothing of it reaches the app (the second hop). */
const REFUSED: Readonly<Record<string, readonly [request: string, status: number]>> = {
  'a bare LF': ['GET / HTTP/1.1\nhost: server\n\n', 400],
  'obs-fold': ['GET / HTTP/1.1\r\nhost: server\r\nx: y\r\n z\r\n\r\n', 400],
  'CL and TE': [
    'POST / HTTP/1.1\r\nhost: server\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: server\r\n\r\n',
    400,
  ],
  'two Hosts': ['GET / HTTP/1.1\r\nhost: server\r\nhost: other\r\n\r\n', 400],
  'a lower-case method': ['get / HTTP/1.1\r\nhost: server\r\n\r\n', 400],
  'a NUL': [GET('/', 'x: a\0b\r\n'), 400],
  'HTTP/1.0': ['GET / HTTP/1.0\r\nhost: server\r\n\r\n', 426],
  'HTTP/0.9': ['GET /\r\n', 426],
  'no Host': ['GET / HTTP/1.1\r\n\r\n', 400],
  'too many headers': [GET('/', 'a: b\r\n'.repeat(120)), 431],
  'too long a header': [GET('/', `a: ${'b'.repeat(70_000)}\r\n`), 431],
  'OPTIONS *': ['OPTIONS * HTTP/1.1\r\nhost: server\r\n\r\n', 404],
}

test('what is refused by form never reaches the app, and the connection closes', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(app.address)
  for (const [what, [request, status]] of Object.entries(REFUSED)) {
    using client = await openRaw(pair.outbound)
    client.send(request)
    if (status !== 404) {
      const answer = await client.end()
      t.true(answer.startsWith(`HTTP/1.1 ${status} `), `${what}: ${answer.slice(0, 80)}`)
      t.regex(answer, /\r\nconnection: close\r\n/, what)
      t.is(answer.match(/HTTP\/1\.1 /g)?.length, 1, what)
    } else t.true((await client.until('\r\n\r\n')).startsWith('HTTP/1.1 404 '), what)
  }
  t.deepEqual(app.requests, [])
})

test('§0.8.10 a fragment is neither decided on nor sent on', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(app.address)
  using client = await openRaw(pair.outbound)
  client.send(GET('/forbidden#/a') + GET('/a?b#/forbidden'))
  t.true((await client.until('RBAC: access denied')).startsWith('HTTP/1.1 403 '))
  t.true((await client.until('GET /a?b HTTP/1.1\n')).startsWith('HTTP/1.1 200 '))
  t.is(app.requests.length, 1)
})

test('§0.8.19 remoteIp is the last entry of X-Forwarded-For if that is an address', (t) => {
  const remoteIp = (lines: string) => {
    const head = new RequestHead()
    const bytes = Buffer.from(GET('/', lines), 'latin1')
    t.true(head.read(bytes, 0, bytes.length) > 0)
    const connection = { peer: undefined, sourceIp: '10.0.0.1', sni: undefined } as const
    const to = { destinationIp: '10.0.0.2', destinationPort: 80 } as const
    return new RequestAttributes(head, { ...connection, ...to }).remoteIp
  }
  t.is(remoteIp('x-forwarded-for: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2, 3.3.3.3\r\n'), '3.3.3.3')
  for (const odd of ['1.2.3.4:80', '1.2.3.4,', 'me', '']) {
    t.is(remoteIp(`x-forwarded-for: ${odd}\r\n`), '10.0.0.1', odd)
  }
  t.is(remoteIp(''), '10.0.0.1')
})

test('a chunked body that breaks its framing is cut off on every hop', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(app.address)
  for (const bad of [
    '5;a=b\r\nhello\r\n0\r\n\r\n',
    '5\r\nhelloX\r\n0\r\n\r\n',
    '0x5\r\nhello\r\n0\r\n\r\n',
    '5\nhello\r\n0\r\n\r\n',
  ]) {
    using client = await openRaw(pair.outbound)
    client.send(`POST / HTTP/1.1\r\nhost: server\r\ntransfer-encoding: chunked\r\n\r\n${bad}`)
    t.true((await client.end()).startsWith('HTTP/1.1 400 '), bad)
  }
  t.deepEqual(app.requests, [])
})

test('requests sent together are answered one after another', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(app.address)
  using client = await openRaw(pair.outbound)
  const paths = Array.from({ length: 20 }, (_, index) => `/n${index}`)
  client.send(paths.map((path) => GET(path)).join(''))
  for (const path of paths) await client.until(`GET ${path} HTTP/1.1\n`)
  t.deepEqual(
    app.requests.map((one) => one.slice(4, one.indexOf(' HTTP'))),
    paths,
  )
})

test('a head that comes byte by byte is a head', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(app.address)
  using client = await openRaw(pair.outbound)
  for (const char of GET('/slow')) {
    client.send(char)
    await sleep(0)
  }
  await client.until('GET /slow HTTP/1.1\n')
  t.is(app.requests.length, 1)
})

test('bodies of every framing come through both ways, and stream', async (t) => {
  const app = createServer(async (request, response) => {
    const hash = createHash('sha256')
    let bytes = 0
    for await (const chunk of request) {
      hash.update(chunk)
      bytes += chunk.length
    }
    response.setHeader('x-bytes', bytes)
    response.end(hash.digest('hex'))
  })
  app.listen(0, '127.0.0.1')
  await once(app, 'listening')
  const address = app.address()
  await using pair = await openFakePair(
    `127.0.0.1:${typeof address === 'object' ? address?.port : 0}`,
  )
  for (const size of [0, 1, 1000, 100_000, 3_000_000]) {
    for (const isChunked of [false, true]) {
      using client = await openRaw(pair.outbound)
      const body = Buffer.alloc(size, 'x')
      const hash = createHash('sha256').update(body).digest('hex')
      const framing = isChunked ? 'transfer-encoding: chunked' : `content-length: ${size}`
      client.send(`PUT /up HTTP/1.1\r\nhost: server\r\n${framing}\r\n\r\n`)
      for (let at = 0; at < size; at += 50_000) {
        const piece = body.subarray(at, at + 50_000)
        if (isChunked) client.send(`${piece.length.toString(16)}\r\n`)
        client.send(piece)
        if (isChunked) client.send('\r\n')
      }
      if (isChunked) client.send('0\r\n\r\n')
      const answer = await client.until(hash)
      t.regex(answer, new RegExp(`x-bytes: ${size}\r\n`))
    }
  }
  app.closeAllConnections()
  app.close()
})

test('a large answer waits for a slow client instead of filling memory', async (t) => {
  const total = 200 * 1024 * 1024
  const piece = Buffer.alloc(64 * 1024, 'y')
  let sent = 0
  await using app = await openRawApp((socket) => {
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${total}\r\n\r\n`)
    const more = (): void => {
      while (sent < total) {
        sent += piece.length
        if (!socket.write(piece)) return void socket.once('drain', more)
      }
    }
    more()
  })
  await using pair = await openFakePair(app.address)
  using client = await openRaw(pair.outbound)
  client.socket.pause()
  client.send(GET('/big'))
  await sleep(600)
  t.true(
    sent < 60 * 1024 * 1024,
    `${sent} bytes were taken from the app for a client that reads nothing`,
  )
})

test('an upload waits for a slow app', async (t) => {
  await using app = await openRawApp((socket) => void socket.pause())
  await using pair = await openFakePair(app.address)
  using client = await openRaw(pair.outbound)
  const total = 200 * 1024 * 1024
  client.send(`POST /up HTTP/1.1\r\nhost: server\r\ncontent-length: ${total}\r\n\r\n`)
  const piece = Buffer.alloc(64 * 1024)
  let sent = 0
  const more = (): void => {
    while (sent < total) {
      sent += piece.length
      if (!client.socket.write(piece)) return void client.socket.once('drain', more)
    }
  }
  more()
  await sleep(600)
  t.true(
    sent < 60 * 1024 * 1024,
    `${sent} bytes were taken from the client for an app that reads nothing`,
  )
})

test('answers of every framing come through', async (t) => {
  const answers: Readonly<Record<string, string>> = {
    '/length': 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
    '/chunked':
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n',
    '/none': 'HTTP/1.1 204 No Content\r\n\r\n',
    '/interim':
      'HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
    '/close': 'HTTP/1.1 200 OK\r\n\r\nok',
    '/old': 'HTTP/1.0 200 OK\r\n\r\nok',
  }
  await using app = await openRawApp((socket, text) => {
    const path = text.split(' ')[1] ?? ''
    socket.write(answers[path] ?? '')
    if (path === '/close' || path === '/old') socket.end()
  })
  await using pair = await openFakePair(app.address)
  using client = await openRaw(pair.outbound)
  for (const path of Object.keys(answers)) {
    client.send(GET(path))
    const head = await client.until('\r\n\r\n')
    if (path === '/none') t.true(head.startsWith('HTTP/1.1 204 No Content\r\n'))
    else if (path === '/interim') {
      t.true(head.startsWith('HTTP/1.1 103 Early Hints\r\nlink: a\r\n'))
      t.true((await client.until('\r\n\r\n')).startsWith('HTTP/1.1 200 OK\r\n'))
      await client.until('ok')
    } else if (head.includes('chunked')) await client.until('0\r\n\r\n')
    else await client.until('ok')
    t.true(head.startsWith('HTTP/1.1 '), path)
  }
  client.send(`HEAD /length HTTP/1.1\r\nhost: server\r\n\r\n`)
  t.regex(await client.until('\r\n\r\n'), /content-length: 2\r\n/)
})

test('an answer that breaks its framing is 502, and one cut short breaks the connection', async (t) => {
  await using app = await openRawApp((socket, text) => {
    const path = text.split(' ')[1]
    if (path === '/two')
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok')
    if (path === '/cut') socket.end('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nok')
    if (path === '/gone') socket.destroy()
    if (path === '/chunks')
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x\r\nok\r\n')
  })
  await using pair = await openFakePair(app.address)
  for (const [path, status] of [
    ['/two', 502],
    ['/gone', 503],
    ['/chunks', 502],
  ] as const) {
    using client = await openRaw(pair.outbound)
    client.send(`POST ${path} HTTP/1.1\r\nhost: server\r\ncontent-length: 0\r\n\r\n`)
    t.true((await client.until('\r\n\r\n')).startsWith(`HTTP/1.1 ${status} `), path)
  }
  using client = await openRaw(pair.outbound)
  client.send(GET('/cut'))
  t.true((await client.end()).endsWith('\r\n\r\nok'))
})

test('bytes that an app sends unasked are not the next answer', async (t) => {
  let count = 0
  await using app = await openRawApp((socket) => {
    count += 1
    socket.write(
      `HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nn${count}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged`,
    )
  })
  await using pair = await openFakePair(app.address)
  using client = await openRaw(pair.outbound)
  for (let index = 1; index <= 3; index += 1) {
    client.send(GET('/'))
    await client.until(`\r\n\r\nn${index}`)
  }
  await sleep(50)
  t.false(client.received().includes('forged'))
})

test('a WebSocket passes both ways, and its sockets carry nothing else afterwards (users §2.3.46)', async (t) => {
  await using app = await openRawApp((socket, text) => {
    if (text.startsWith('GET /ws ')) {
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\nhello',
      )
    } else if (text.startsWith('GET ')) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')
    else socket.write(`<${text}>`)
  })
  await using pair = await openFakePair(app.address)
  using client = await openRaw(pair.outbound)
  client.send(GET('/ws', 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: y\r\n'))
  const answer = await client.until('hello')
  t.true(answer.startsWith('HTTP/1.1 101 Switching Protocols\r\n'))
  t.regex(answer, /\r\nconnection: upgrade\r\nupgrade: websocket\r\n/)
  client.send('one')
  await client.until('<one>')
  client.send('two')
  await client.until('<two>')
  client.socket.end()
  await sleep(50)
  using other = await openRaw(pair.outbound)
  other.send(GET('/'))
  await other.until('\r\n\r\n')
  t.true(app.sockets.length >= 2)
  t.regex(app.received[0] ?? '', /\r\nconnection: upgrade\r\nupgrade: websocket\r\n/)
})

test('a policy is enforced on the connections that are open when it changes', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(app.address)
  using client = await openRaw(pair.outbound)
  client.send(GET('/a'))
  await client.until('GET /a HTTP/1.1\n')
  pair.server.inbound.set(
    compiledInbound(
      inboundBundle({
        authorization: [
          { namespace: 'test', name: 'nobody', action: 'ALLOW', dryRun: false, rules: [] },
        ],
      }),
    ),
  )
  client.send(GET('/b'))
  t.true((await client.until('RBAC: access denied')).startsWith('HTTP/1.1 403 '))
  t.is(app.requests.length, 1)
})

test('a drain lets requests finish, says close, and ends', async (t) => {
  const reached = Promise.withResolvers<void>()
  await using app = await openRawApp((socket) => {
    reached.resolve()
    setTimeout(() => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate'), 150)
  })
  await using pair = await openFakePair(app.address)
  using client = await openRaw(pair.outbound)
  using idle = await openRaw(pair.outbound)
  client.send(GET('/'))
  await reached.promise
  const drained = Promise.all([pair.client.plane.drain(), pair.server.plane.drain()])
  const answer = await client.until('late')
  t.regex(answer, /\r\nconnection: close\r\n/)
  await client.end()
  await drained
  await idle.end()
  await t.throwsAsync(openRaw(pair.outbound))
})

test('a drain ends after drainMs, whatever is in flight', async (t) => {
  await using app = await openRawApp(() => {})
  await using pair = await openFakePair(app.address)
  using client = await openRaw(pair.outbound)
  client.send(GET('/'))
  await sleep(50)
  const slowness = startSlowness()
  const startMs = performance.now()
  await pair.server.plane.drain()
  t.true(performance.now() - startMs < 3500 * slowness())
})
