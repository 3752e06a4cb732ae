/** How bytes, trailers, resets and goodbyes go through a stream, both ways. Real sockets and TLS. */
import { once } from 'node:events'
import { constants, type ServerHttp2Stream } from 'node:http2'
import test from 'ava'
import { compileDenyList } from '#ca/x509/index.ts'
import {
  answerOf,
  answerWithPath,
  GRPC,
  openStreamApp,
  openStreams,
  type StreamSeen,
  until,
} from '#test/fakes/fake-streams.ts'
import { CLIENT_ID } from '#test/fakes/fake-sidecars.ts'

const { NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_REFUSED_STREAM } = constants

const path = ({ headers }: StreamSeen): string => String(headers[':path'])

test('trailers go through in both directions, but for those that mean something to a proxy', async (t) => {
  const came: unknown[] = []
  await using app = await openStreamApp(({ stream }) => {
    stream.on('trailers', (headers) => void came.push({ ...headers }))
    stream.on('wantTrailers', () =>
      stream.sendTrailers({ 'x-sum': ['1', '2'], 'grpc-status': '0', 'x-redoubt-decision': 'f' }),
    )
    stream.respond({ ':status': 200 }, { waitForTrailers: true })
    stream.on('data', (bytes) => stream.write(bytes))
    stream.on('end', () => stream.end())
  })
  await using streams = await openStreams({ app: app.address })
  const caller = await streams.call()
  const stream = caller.session.request(
    { ':method': 'POST', ':path': '/a', trailer: 'x-more' },
    { waitForTrailers: true },
  )
  stream.on('wantTrailers', () =>
    stream.sendTrailers({ 'x-more': 'm', 'x-forwarded-client-cert': 'URI=evil', host: 'h' }),
  )
  stream.end('hello')
  const answer = await answerOf(stream)
  t.is(answer.body, 'hello')
  t.is(answer.trailers?.['x-sum'], '1, 2')
  t.is(answer.trailers?.['grpc-status'], '0')
  t.false('x-redoubt-decision' in (answer.trailers ?? {}))
  t.like(came, [{ 'x-more': 'm' }])
  t.deepEqual(Object.keys(came[0] as object), ['x-more'])
})

test('interim answers go through before the answer', async (t) => {
  await using app = await openStreamApp((seen) => {
    seen.stream.additionalHeaders({ ':status': 103, link: '</a>' })
    answerWithPath(seen)
  })
  await using streams = await openStreams({ app: app.address })
  const stream = (await streams.call()).open({}, true)
  const interim = once(stream, 'headers')
  const answer = await answerOf(stream)
  const [headers] = (await interim) as [Record<string, unknown>]
  t.like(headers, { ':status': 103, link: '</a>' })
  t.is(answer.status, 200)
})

test('bidirectional streams are carried message by message, many on one connection', async (t) => {
  await using app = await openStreamApp(({ stream }) => {
    stream.respond({ ':status': 200 })
    stream.on('data', (bytes: Buffer) => stream.write(`re:${bytes.toString()}`))
    stream.on('end', () => stream.end())
  })
  await using streams = await openStreams({ app: app.address })
  const caller = await streams.call()
  const talks = Array.from({ length: 20 }, () => caller.open({ ...GRPC }))
  for (const [index, stream] of talks.entries()) {
    for (const turn of [1, 2, 3]) {
      stream.write(`${index}.${turn}`)
      const [said] = (await once(stream, 'data')) as [Buffer]
      t.is(said.toString(), `re:${index}.${turn}`)
    }
  }
  t.false(talks.some(({ closed }) => closed))
  const ends = talks.map((stream) => answerOf(stream))
  for (const stream of talks) stream.end()
  for (const { code } of await Promise.all(ends)) t.is(code, 0)
  t.is(app.sessions.length, 1)
})

/** Writes until nobody takes more; `taken` is what was taken. */
function pour(stream: { readonly write: (bytes: Buffer) => boolean }, piece: Buffer) {
  const poured = { bytes: 0 }
  const more = (): void => {
    while (stream.write(piece)) poured.bytes += piece.length
    poured.bytes += piece.length
  }
  return { poured, more }
}

/** Far more than all windows and socket buffers on the way have room for. */
const MUCH = 64 * 2 ** 20

/** Looks at which nothing has moved, after which nothing is taken to move. */
const STILL_LOOKS = 40

async function standsStill(poured: { readonly bytes: number }): Promise<number> {
  let before = -1
  let looks = 0
  await until(() => {
    looks = before === poured.bytes ? looks + 1 : 0
    before = poured.bytes
    return looks >= STILL_LOOKS && before > 0
  })
  return before
}

test('users §2.5 a caller that reads slowly holds the app back, and no memory grows in between', async (t) => {
  const piece = Buffer.alloc(16_384)
  let poured = { bytes: 0 }
  await using app = await openStreamApp((seen) => {
    if (path(seen) !== '/pour') return answerWithPath(seen)
    const { stream } = seen
    stream.respond({ ':status': 200 })
    const pouring = pour(stream, piece)
    poured = pouring.poured
    stream.on('drain', () => (poured.bytes < MUCH ? pouring.more() : stream.end()))
    pouring.more()
  })
  await using streams = await openStreams({ app: app.address })
  const caller = await streams.call()
  const slow = caller.open({ ':path': '/pour' }, true)
  let read = 0
  await once(slow, 'response')
  t.true((await standsStill(poured)) < 2 * 2 ** 20, `${poured.bytes}`)
  t.is((await caller.ask({ ':path': '/other' })).status, 200, 'other streams go on meanwhile')
  slow.on('data', (bytes: Buffer) => {
    read += bytes.length
  })
  await once(slow, 'close')
  t.is(read, poured.bytes)
  t.true(read >= MUCH)
})

test('users §2.5 an app that reads slowly holds the caller back', async (t) => {
  let slow: ServerHttp2Stream | undefined
  let read = 0
  await using app = await openStreamApp((seen) => {
    if (path(seen) !== '/pour') return answerWithPath(seen)
    slow = seen.stream
    seen.stream.respond({ ':status': 200 })
  })
  await using streams = await openStreams({ app: app.address })
  const caller = await streams.call()
  const stream = caller.open({ ':path': '/pour', ':method': 'POST' })
  const over = answerOf(stream)
  const { poured, more } = pour(stream, Buffer.alloc(16_384))
  stream.on('drain', () => (poured.bytes < MUCH ? more() : stream.end()))
  more()
  t.true((await standsStill(poured)) < 2 * 2 ** 20, `${poured.bytes}`)
  t.is((await caller.ask({ ':path': '/other' })).status, 200)
  slow?.on('data', (bytes: Buffer) => {
    read += bytes.length
  })
  slow?.on('end', () => slow?.end())
  t.like(await over, { status: 200, code: 0 })
  t.is(read, poured.bytes)
})

test('a caller that cancels ends the app’s stream, and its line says so', async (t) => {
  let aborted = 0
  await using app = await openStreamApp(({ stream }) => {
    stream.once('aborted', () => {
      aborted += 1
    })
    stream.respond({ ':status': 200 })
    stream.write('begun')
  })
  await using streams = await openStreams({ app: app.address })
  const caller = await streams.call()
  const stream = caller.open({ ...GRPC, ':path': '/p.S/Watch' })
  await once(stream, 'data')
  stream.close(NGHTTP2_CANCEL)
  await until(() => aborted === 1)
  const early = caller.open({ ...GRPC, ':path': '/p.S/Early' })
  early.write('x')
  await until(() => app.seen.length === 2)
  early.close(NGHTTP2_CANCEL)
  await until(() => aborted === 2)
  const lines = await streams.log(2)
  t.like(lines[0], { path: '/p.S/Watch', response_code: 200, response_flags: 'DC' })
  t.is(lines[1]?.['response_flags'], 'DC')
})

test('a reset by the app is 503 before its answer and the same reset after; none of it touches other streams', async (t) => {
  await using app = await openStreamApp((seen) => {
    const { stream } = seen
    if (path(seen) === '/early') return stream.close(NGHTTP2_REFUSED_STREAM)
    if (path(seen) !== '/late') return answerWithPath(seen)
    stream.respond({ ':status': 200 })
    stream.write('begun')
    stream.once('data', () => stream.close(NGHTTP2_ENHANCE_YOUR_CALM))
  })
  await using streams = await openStreams({ app: app.address })
  const caller = await streams.call()
  t.is((await caller.ask({ ':path': '/early' })).status, 503)
  t.is((await caller.ask({ ...GRPC, ':path': '/early' }, 'x')).headers['grpc-status'], '14')
  const late = caller.open({ ':path': '/late', ':method': 'POST' })
  const answer = answerOf(late)
  await once(late, 'data')
  late.write('x')
  t.like(await answer, { status: 200, body: 'begun', code: NGHTTP2_ENHANCE_YOUR_CALM })
  t.is((await caller.ask({ ':path': '/fine' })).status, 200)
  t.is(app.sessions.length, 1)
})

test('an answer that is whole before its request stops the caller, and is read all the same', async (t) => {
  await using app = await openStreamApp(({ stream }) => {
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '8' }))
    stream.respond({ ':status': 200 }, { waitForTrailers: true })
    stream.end('enough')
  })
  await using streams = await openStreams({ app: app.address })
  const caller = await streams.call()
  const stream = caller.open({ ':method': 'POST' })
  stream.write('more and more')
  const answer = await answerOf(stream)
  t.like(answer, { status: 200, body: 'enough', code: 0 })
  t.is(answer.trailers?.['grpc-status'], '8')
  const refused = caller.open({ ...GRPC, ':path': '/forbidden' })
  refused.write('more and more')
  t.like((await answerOf(refused)).headers, { 'grpc-status': '7' })
})

test('an app that says goodbye is connected anew for the next stream', async (t) => {
  await using app = await openStreamApp(answerWithPath)
  await using streams = await openStreams({ app: app.address })
  const caller = await streams.call()
  t.is((await caller.ask({})).status, 200)
  app.sessions[0]?.close()
  await until(() => app.sessions[0]?.destroyed === true)
  t.is((await caller.ask({})).status, 200)
  app.sessions[1]?.socket.destroy()
  await until(() => app.sessions[1]?.destroyed === true)
  const { status } = await caller.ask({})
  t.true(status === 200 || status === 503, 'it may have been on its way')
  t.is((await caller.ask({})).status, 200)
})

test('a drain says goodbye, lets streams that are open finish, and ends idle connections', async (t) => {
  let finish = (): void => {}
  await using app = await openStreamApp((seen) => {
    if (path(seen) !== '/long') return answerWithPath(seen)
    seen.stream.respond({ ':status': 200 })
    finish = () => seen.stream.end('at last')
  })
  await using streams = await openStreams({ app: app.address, drainMs: 20_000 })
  const [busy, idle] = [await streams.call(), await streams.call()]
  t.is((await idle.ask({})).status, 200)
  const long = busy.open({ ':path': '/long' }, true)
  const answer = answerOf(long)
  await once(long, 'response')
  const goodbye = once(busy.session, 'goaway')
  const drained = streams.sidecar.plane.drain()
  t.is((await goodbye)[0], 0)
  finish()
  t.like(await answer, { body: 'at last', code: 0 })
  await drained
  await until(() => idle.session.destroyed && busy.session.destroyed)
  t.is(app.seen.length, 2)
})

test('a caller that is revoked is cut off, with its streams', async (t) => {
  let aborted = false
  await using app = await openStreamApp(({ stream }) => {
    stream.once('aborted', () => {
      aborted = true
    })
    stream.respond({ ':status': 200 })
    stream.write('begun')
  })
  await using streams = await openStreams({ app: app.address })
  const caller = await streams.call()
  const stream = caller.open({})
  await once(stream, 'data')
  const { svid } = streams.sidecar
  const last = Temporal.Now.instant().add({ hours: 1 })
  const entry = {
    kind: 'spiffe-id',
    value: CLIENT_ID,
    until: last,
    generation: 1,
    lifted: false,
  } as const
  const denies = compileDenyList({ generation: 1, entries: [entry] })
  const bundles = svid.live.current.bundles.map((bundle) => ({ ...bundle, denies }))
  svid.set({ ...svid.live.current, bundles })
  await until(() => caller.session.destroyed && aborted)
  t.true(aborted)
})

test('a caller whose certificate runs out is told goodbye, and what it has begun is finished', async (t) => {
  await using app = await openStreamApp((seen) => {
    seen.stream.respond({ ':status': 200 })
    seen.stream.write('begun')
    seen.stream.on('data', () => seen.stream.end(' and ended'))
  })
  await using streams = await openStreams({ app: app.address })
  const short = await streams.issuer.issue(CLIENT_ID, { lifeMs: 3000 })
  const caller = await streams.callAs(short)
  const stream = caller.open({ ':method': 'POST' })
  const answer = answerOf(stream)
  await once(caller.session, 'goaway')
  stream.end('x')
  t.like(await answer, { body: 'begun and ended', code: 0 })
  await until(() => caller.session.destroyed)
  t.is(app.seen.length, 1)
})
