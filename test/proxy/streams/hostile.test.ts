/** Callers of HTTP/2 that mean no good (users-and-performance §2.5): none of it reaches the app, or ends the sidecar. */
import { constants } from 'node:http2'
import { setImmediate as turn } from 'node:timers/promises'
import test from 'ava'
import {
  answerOf,
  answerWithPath,
  GRPC,
  openCaller,
  openStreamApp,
  openStreams,
  type OpenStreams,
  until,
} from '#test/fakes/fake-streams.ts'
import { randomSeed } from '#test/fakes/random-seed.ts'
import {
  END_HEADERS,
  END_STREAM,
  fieldBlock,
  FRAME,
  frame,
  PREFACE,
  type RawFrames,
  readFrames,
  request,
  REQUEST,
  reset,
  SETTINGS,
} from '#test/fakes/raw-http2.ts'

const { NGHTTP2_REFUSED_STREAM } = constants

/** Writes on a connection of its own, whose preface has been said. */
async function write(
  streams: OpenStreams,
  ...parts: readonly Uint8Array[]
): Promise<RawFrames & { readonly more: (bytes: Buffer) => boolean }> {
  const socket = await streams.dial()
  const read = readFrames(socket)
  socket.write(Buffer.concat([PREFACE, SETTINGS, ...parts]))
  return { ...read, more: (bytes) => !socket.destroyed && socket.write(bytes) }
}

/** Whether somebody else is still served. */
async function isServed(streams: OpenStreams): Promise<boolean> {
  const caller = await streams.call()
  const { status } = await caller.ask({ ':path': '/served' })
  await caller[Symbol.asyncDispose]()
  return status === 200
}

const with_ = (...fields: readonly (readonly [string, string])[]) => [...REQUEST, ...fields]
const without = (name: string) => REQUEST.filter(([other]) => other !== name)

/** Heads that are no request, by what is wrong with them. */
const HEADS: Readonly<Record<string, readonly (readonly [string, string])[]>> = {
  'a name in upper case': with_(['X-Upper', '1']),
  'a name with a space': with_(['x y', '1']),
  'a name with a colon': with_(['x:y', '1']),
  'a field of the connection': with_(['connection', 'keep-alive']),
  'an encoding of the transfer': with_(['transfer-encoding', 'chunked']),
  'an upgrade': with_(['upgrade', 'websocket']),
  'a second path': with_([':path', '/b']),
  'a pseudo-field behind others': [['x-one', '1'], ...REQUEST],
  'a pseudo-field that nobody knows': [[':other', '1'], ...REQUEST],
  'no path': without(':path'),
  'no method': without(':method'),
  'neither authority nor host': without(':authority'),
  'two hosts': [...without(':authority'), ['host', 'a'], ['host', 'b']],
  'an end of line in a value': with_(['x-one', '1\r\nx-two: 2']),
  'a zero in a value': with_(['x-one', 'a\0b']),
  'a path that ends its line': [...without(':path'), [':path', '/a HTTP/1.1\r\nx: y']],
  'a path with a space': [...without(':path'), [':path', '/a b']],
  'an authority with a path': [...without(':authority'), [':authority', 'a/b']],
  'a length and no body': with_(['content-length', '5']),
  'two lengths': with_(['content-length', '0'], ['content-length', '0']),
  'more fields than anybody has': with_(
    ...Array.from({ length: 101 }, (_, index) => [`x-${index}`, '1'] as const),
  ),
  'a way through (CONNECT)': [
    [':method', 'CONNECT'],
    [':authority', 'a:80'],
  ],
}

test('§0.8.18 a head that is no request never reaches the app, and takes no other stream along', async (t) => {
  await using app = await openStreamApp(answerWithPath)
  await using streams = await openStreams({ app: app.address, protocol: 'http2' })
  for (const [what, fields] of Object.entries(HEADS)) {
    const raw = await write(streams, request(1, fields), request(3))
    await until(() => raw.isOver() || answered(raw, 1))
    t.true(await isServed(streams), what)
  }
  const paths = app.seen.map(({ headers }) => headers[':path'])
  t.deepEqual(new Set(paths), new Set(['/a', '/served']))
  const others = app.seen.filter(({ raw }) =>
    raw.some((text) => /^x-|,|\n|^connection$/.test(text)),
  )
  t.true(others.every(({ headers }) => 'x-request-id' in headers))
  t.false(
    app.seen.some(({ headers }) => 'x-one' in headers || 'x-two' in headers || 'x' in headers),
  )
})

function answered({ frames, codeOf }: RawFrames, stream: number): boolean {
  return (
    codeOf(stream) !== undefined ||
    frames.some((one) => one.stream === stream && (one.flags & END_STREAM) !== 0)
  )
}

const BREAKS: Readonly<Record<string, Buffer>> = {
  'no preface': Buffer.from('PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n'),
  'data before a head': frame(FRAME.data, 0, 1, Buffer.from('x')),
  'a stream of the server': request(2),
  'more of a head that is none': frame(FRAME.continuation, END_HEADERS, 1, Buffer.alloc(1)),
  'a promise': frame(FRAME.push, END_HEADERS, 1, Buffer.alloc(8)),
  'a frame beyond all sizes': Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])]),
  'fields that no table has': frame(
    FRAME.headers,
    END_HEADERS + END_STREAM,
    1,
    Buffer.of(0xff, 0xff),
  ),
  'a window of nothing': frame(FRAME.windowUpdate, 0, 0, Buffer.alloc(4)),
}

test('users §2.5 frames out of place end their connection, and nobody else’s', async (t) => {
  await using app = await openStreamApp(answerWithPath)
  await using streams = await openStreams({ app: app.address })
  for (const [what, bytes] of Object.entries(BREAKS)) {
    const raw = what === 'no preface' ? undefined : await write(streams, bytes)
    const socket = raw === undefined ? await streams.dial() : undefined
    const read = raw ?? readFrames(socket as NonNullable<typeof socket>)
    socket?.write(bytes)
    await until(() => read.isOver() || answered(read, 1))
    t.true(await isServed(streams), what)
  }
  t.is(app.seen.length, Object.keys(BREAKS).length)
})

const many = (count: number, part: (index: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, index) => part(index)))

const ping = frame(FRAME.ping, 0, 0, Buffer.alloc(8))
const fields = fieldBlock(REQUEST)

const FLOODS: Readonly<Record<string, Buffer>> = {
  'rapid reset (CVE-2023-44487)': many(20_000, (index) =>
    Buffer.concat([request(2 * index + 1), reset(2 * index + 1, 8)]),
  ),
  settings: many(50_000, () => SETTINGS),
  pings: many(50_000, () => ping),
  'heads without end (CONTINUATION)': Buffer.concat([
    frame(FRAME.headers, 0, 1, fields),
    many(20_000, () => frame(FRAME.continuation, 0, 1, fieldBlock([['x-more', 'y'.repeat(500)]]))),
  ]),
  'a head of a megabyte': Buffer.concat([
    frame(FRAME.headers, 0, 1, fields),
    many(70, (index) =>
      frame(FRAME.continuation, 0, 1, fieldBlock([[`x-${index}`, 'y'.repeat(15_000)]])),
    ),
    frame(FRAME.continuation, END_HEADERS, 1, Buffer.alloc(0)),
  ]),
}

test('users §2.5 row 1: floods end their connection after a bounded number of streams (CVE-2023-44487)', async (t) => {
  await using app = await openStreamApp(answerWithPath)
  await using streams = await openStreams({ app: app.address })
  for (const [what, bytes] of Object.entries(FLOODS)) {
    const before = app.seen.length
    const raw = await write(streams, bytes)
    await until(() => raw.isOver() || answered(raw, 1))
    t.true(await isServed(streams), what)
    t.true(app.seen.length - before < 3000, `${what}: ${app.seen.length - before}`)
    t.log(what, raw.isOver(), raw.codeOf(0), app.seen.length - before)
  }
})

test('users §2.5 a stream beyond a hundred is refused, and taken again when there is room', async (t) => {
  let finish: (() => void)[] = []
  await using app = await openStreamApp((seen) => {
    if (seen.headers[':path'] !== '/hold') return answerWithPath(seen)
    seen.stream.respond({ ':status': 200 })
    finish.push(() => seen.stream.end())
  })
  await using streams = await openStreams({ app: app.address })
  const hold = REQUEST.map(([name, value]) => [name, name === ':path' ? '/hold' : value] as const)
  const raw = await write(
    streams,
    many(101, (index) => request(2 * index + 1, hold)),
  )
  await until(() => app.seen.length === 100 && raw.codeOf(201) !== undefined)
  t.is(raw.codeOf(201), NGHTTP2_REFUSED_STREAM)
  for (const one of finish) one()
  finish = []
  await until(() => answered(raw, 1) && answered(raw, 199))
  raw.more(request(203))
  await until(() => answered(raw, 203))
  t.is(app.seen.length, 101)
})

test('a connection that breaks amid many answers ends with all its streams', async (t) => {
  let closed = 0
  await using app = await openStreamApp(({ stream, headers }) => {
    if (headers[':path'] === '/served') return answerWithPath({ stream, headers, raw: [] })
    stream.once('close', () => {
      closed += 1
    })
    stream.respond({ ':status': 200 }, { waitForTrailers: true })
    stream.end(Buffer.alloc(100_000))
  })
  await using streams = await openStreams({ app: app.address })
  for (const broken of [request(2), frame(FRAME.data, 0, 0, Buffer.of(1)), undefined]) {
    closed = 0
    const socket = await streams.dial()
    const raw = readFrames(socket)
    const asked = many(50, (index) => request(2 * index + 1))
    socket.write(Buffer.concat([PREFACE, SETTINGS, asked]))
    // All windows are full.
    await until(() => raw.frames.filter(({ type }) => type === FRAME.data).length >= 4)
    if (broken === undefined) socket.destroy()
    else socket.write(broken)
    await until(() => raw.isOver() && closed === 50)
    t.true(await isServed(streams))
  }
})

test('a body that is not as long as it said ends its stream, and the app does not take it for whole', async (t) => {
  const ends: string[] = []
  await using app = await openStreamApp(({ stream, headers }) => {
    const path = String(headers[':path'])
    stream.once('aborted', () => void ends.push(`aborted ${path}`))
    stream.once('end', () => void ends.push(`${stream.aborted ? '' : 'whole'} ${path}`))
    stream.resume()
  })
  await using streams = await openStreams({ app: app.address })
  for (const [path, body] of Object.entries({ '/short': 'abc', '/long': 'abcdef' })) {
    const head = [
      [':method', 'POST'],
      ...[[':scheme', 'http'] as const, [':authority', 'a'] as const, [':path', path] as const],
      ['content-length', '5'],
    ] as const
    const raw = await write(
      streams,
      request(1, head, END_HEADERS),
      frame(FRAME.data, END_STREAM, 1, Buffer.from(body)),
    )
    await until(() => raw.isOver() || raw.codeOf(1) !== undefined)
  }
  t.true(await Promise.race([isServed(streams), turn(true)]))
  t.false(
    ends.some((text) => text.startsWith('whole')),
    ends.join(),
  )
})

/**
 * Everything at once, in an order that nobody has thought of: what a crash of the process would show. The two
 * ends reset no stream on which they have trailers due, which Node 26 may not survive: the sidecar has to.
 */
test('streams that end in every way at any time leave nothing behind', async (t) => {
  const seed = randomSeed()
  t.log(`seed ${seed}`)
  const draw = drawer(seed)
  await using app = await openStreamApp(({ stream }) => {
    const waitForTrailers = draw(2) === 0
    stream.on('wantTrailers', () => {
      if (draw(10) > 0) stream.sendTrailers({ 'grpc-status': '0' })
      else setImmediate(() => stream.close(1 + draw(13)))
    })
    if (draw(12) === 0) return void setImmediate(() => stream.close(draw(14)))
    stream.respond({ ':status': 200 }, { waitForTrailers })
    if (draw(3) === 0) return void stream.end('early')
    stream.on('data', (bytes: Buffer) => {
      if (!waitForTrailers && draw(20) === 0) setImmediate(() => stream.close(1 + draw(13)))
      else if (!stream.closed && !stream.writableEnded) stream.write(bytes)
    })
    stream.on('end', () => stream.end())
    const fate = draw(120)
    if (fate === 0) stream.session?.socket.destroy()
    else if (fate === 1) stream.session?.close()
  })
  await using streams = await openStreams({ app: app.address })
  const talk = async (): Promise<void> => {
    const socket = await streams.dial()
    const { session } = openCaller(socket)
    const talks = Array.from({ length: 40 }, async () => {
      const waitForTrailers = draw(2) === 0
      const head = {
        ':method': 'POST',
        ':path': draw(8) === 0 ? '/forbidden' : '/a',
        ...{ ':authority': 'a', ...(waitForTrailers && { trailer: 'x-t' }) },
        ...(draw(2) === 0 ? GRPC : {}),
      }
      const stream = session.request(head, { waitForTrailers })
      stream.on('error', () => {})
      stream.on('wantTrailers', () => stream.sendTrailers(draw(2) ? { 'x-t': '1' } : {}))
      const over = answerOf(stream)
      for (let step = draw(4); step > 0 && !stream.closed; step -= 1) {
        stream.write('x'.repeat(1 + draw(20_000)))
        await turn()
      }
      if (!waitForTrailers && draw(4) === 0) stream.close(1 + draw(13))
      else if (draw(60) === 0) socket.destroy()
      else stream.end()
      await over
    })
    await Promise.all(talks)
    socket.destroy()
  }
  for (let round = 0; round < 10; round += 1) await Promise.all([talk(), talk()])
  t.true(await served(streams), `seed ${seed}`)
  const lines = await streams.log(100)
  t.true(lines.length > 100)
})

/** An app of chance may refuse one. */
async function served(streams: OpenStreams): Promise<boolean> {
  for (let tries = 0; tries < 50; tries += 1) if (await isServed(streams)) return true
  return false
}

function drawer(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return (state >>> 8) % below
  }
}
