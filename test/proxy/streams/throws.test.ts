/** What a session may refuse to say: never an error of the process, nor half an answer. */
import { EventEmitter, once } from 'node:events'
import type { ServerHttp2Stream } from 'node:http2'
import test from 'ava'
import { ResponseHead } from '../../../proxy/http/response-head.ts'
import type { AdmittedAnswer } from '../../../proxy/inbound/forward.ts'
import type { HopFailure } from '../../../proxy/mesh/hop.ts'
import type { RequestSink } from '../../../proxy/stack/server-connection.ts'
import type { AppSession } from '../../../proxy/streams/app-session.ts'
import { InboundStream } from '../../../proxy/streams/inbound-stream.ts'

const RAW = [':method', 'GET', ':path', '/a', ':authority', 'a', ':scheme', 'http']
const refuse = (): never => {
  throw new Error('no')
}

function open(sink: Partial<RequestSink>) {
  const events = new EventEmitter()
  const closed: number[] = []
  const stream = Object.assign(events, {
    ...{ closed: false, destroyed: false, writableEnded: false, resume() {}, end() {} },
    ...{ respond: refuse, additionalHeaders: refuse },
    close(code: number) {
      closed.push(code)
      events.emit('reset')
    },
  })
  const heard: string[] = []
  const all: RequestSink = {
    onRequest: () => {},
    onRequestBody: () => {},
    onClientDrain: () => {},
    onClientGone: () => void heard.push('gone'),
    onRefused: () => {},
    ...sink,
  }
  const inbound = new InboundStream(stream as unknown as ServerHttp2Stream, {
    session: { send: refuse } as unknown as AppSession,
    app: { send: refuse },
    sink: () => all,
    retire: () => {},
    onClose: () => {},
  })
  return { inbound, heard, closed, reset: once(events, 'reset') }
}

function answerHead(): ResponseHead {
  const head = new ResponseHead()
  const bytes = Buffer.from('HTTP/1.1 200 OK\r\n\r\n')
  head.read(bytes, 0, bytes.length, 'GET')
  return head
}

test('an answer that cannot be said ends the stream on both sides', async (t) => {
  for (const say of [
    ({ inbound }: ReturnType<typeof open>) => inbound.respond(answerHead(), '', undefined, false),
    ({ inbound }: ReturnType<typeof open>) =>
      inbound.respondOwn({ status: 403, body: 'x', close: false }, ''),
    ({ inbound }: ReturnType<typeof open>) => inbound.respondInterim(answerHead()),
  ]) {
    const opened = open({})
    opened.inbound.begin(1, RAW)
    say(opened)
    await opened.reset
    t.deepEqual(opened.heard, ['gone'])
    t.deepEqual(opened.closed, [2])
    opened.inbound.respondBody(Buffer.of(1), true)
  }
})

test('a request that cannot be put to the app is a failure of its exchange', async (t) => {
  const { inbound } = open({})
  const failure = await new Promise<HopFailure>((resolve) => {
    const answer = { onFailure: resolve } as unknown as AdmittedAnswer
    const exchange = inbound.send({} as never, {} as never, undefined, true, answer)
    t.true(exchange.write(undefined, true))
  })
  t.like(failure, { kind: 'protocol', detail: 'no', mayHaveActed: false })
})
