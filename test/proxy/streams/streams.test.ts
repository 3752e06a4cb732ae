/** HTTP/2 at a sidecar: every stream is a request, decided on by itself. Real sockets, TLS and Casbin. */
import test from 'ava'
import { answerWithPath, GRPC, openStreamApp, openStreams } from '#test/fakes/fake-streams.ts'

test('§1.6 row 2: of two streams on one connection each has its decision, by its path', async (t) => {
  await using app = await openStreamApp(answerWithPath)
  await using streams = await openStreams({ app: app.address })
  const caller = await streams.call()
  const [allowed, denied] = await Promise.all([
    caller.ask({ ...GRPC, ':path': '/pkg.Service/Call' }, 'x'),
    caller.ask({ ...GRPC, ':path': '/forbidden.Service/Call' }, 'x'),
  ])
  t.is(allowed.status, 200)
  t.is(allowed.body, '/pkg.Service/Call')
  t.is(allowed.trailers?.['grpc-status'], '0')
  t.is(denied.status, 200)
  t.is(denied.headers['grpc-status'], '7')
  t.is(denied.headers['grpc-message'], 'RBAC: access denied')
  t.is(app.seen.length, 1)
  t.is(app.sessions.length, 1)
})
