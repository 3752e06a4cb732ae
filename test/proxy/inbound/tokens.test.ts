/** RequestAuthentication in a sidecar: verdicts, order, and what the app sees (istio-semantics §1.3, §3, §4). */
import { readFile } from 'node:fs/promises'
import test from 'ava'
import { inboundBundle, openFakePair } from '#test/fakes/fake-sidecars.ts'
import { makeToken, TOKEN_RULE } from '#test/fakes/fake-tokens.ts'
import { openEchoApp, openRaw } from '#test/fakes/raw-http.ts'
import type { AuthorizationPolicy, InboundBundle, TokenRule } from '#policy/model/index.ts'

const RULE: TokenRule = {
  ...TOKEN_RULE,
  outputPayloadToHeader: 'x-payload',
  spaceDelimitedClaims: ['scope'],
}

const policy = (change: Partial<AuthorizationPolicy>): AuthorizationPolicy => ({
  namespace: 'test',
  name: 'p',
  action: 'ALLOW',
  dryRun: false,
  rules: [{}],
  ...change,
})

const guarded = (change: Partial<InboundBundle> = {}): InboundBundle =>
  inboundBundle({ authorization: [], tokenRules: [RULE], ...change })

const claims = { iss: 'iss', sub: 'u', aud: 'web', scope: 'read write' }
const token = makeToken({ claims })
const request = (line: string, more = '', body = '') =>
  `${line} HTTP/1.1\r\nhost: server\r\n${more}\r\n${body}`
const bearer = (text: string) => `authorization: Bearer ${text}\r\n`

test('§3.4 row 4, §3.1 row 11: the app sees claims as headers, and the token only when told so', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(app.address, guarded())
  using client = await openRaw(pair.outbound)
  client.send(request('GET /a?access_token=x', 'x-sub: root\r\n'))
  t.true((await client.until('3 sections')).startsWith('HTTP/1.1 401 '))
  client.send(request('GET /a', `x-sub: root\r\nX-Payload: e30\r\n${bearer(token)}`))
  await client.until('GET /a HTTP/1.1\n')
  client.send(request(`GET /b?c=%2f&access_token=${token}&d`, 'x-sub: root\r\n'))
  await client.until('GET /b?c=%2f&d HTTP/1.1\n')
  client.send(request('GET /c', 'x-sub: root\r\n'))
  await client.until('GET /c HTTP/1.1\n')
  const [byHeader = '', byQuery = '', without = ''] = app.requests
  for (const seen of [byHeader, byQuery]) {
    t.regex(seen, /\r\nx-sub: u\r\n/)
    t.regex(seen, /\r\nx-payload: eyJ[\w-]+\r\n/)
    t.notRegex(seen, /root|authorization|access_token|: e30\r/)
  }
  t.notRegex(without, /x-sub|x-payload|root/)
  t.is(app.requests.length, 3)
})

test('§3.4 row 5: neither the access log nor the list of denials holds a token', async (t) => {
  await using app = await openEchoApp()
  const pair = await openFakePair(app.address, guarded())
  using client = await openRaw(pair.outbound)
  const misdirected = makeToken({ claims: { ...claims, aud: 'x' } })
  client.send(request('GET /1', bearer(token)))
  await client.until('GET /1 HTTP/1.1\n')
  client.send(request(`GET /2?a=b&access_token=${token}&c=d`, bearer(misdirected)))
  await client.until('Audiences in Jwt are not allowed')
  client.send(request(`GET /3?tk=${token}`, bearer(misdirected)))
  await client.until('Audiences in Jwt are not allowed')
  const denials = JSON.stringify(pair.server.telemetry.decisions.list({ since: 0, limit: 9 }))
  await pair[Symbol.asyncDispose]()
  const lines = pair.server.log.join('\n')
  t.true(lines.includes('"path":"/2?a=b&access_token=***&c=d"'), lines)
  t.true(lines.includes('"path":"/3?tk=***"'), lines)
  for (const text of [lines, denials]) {
    for (const one of [token, misdirected]) t.false(text.includes(one.slice(0, 60)), text)
  }
})

test('§3.3 row 3, §0.8.25: a refused token is 401 or 403, with Envoy’s words and no query in the challenge', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(app.address, guarded())
  using client = await openRaw(pair.outbound)
  client.send(request('GET /a//b?secret=1', bearer('abc')))
  const bad = await client.until('3 sections')
  t.true(bad.startsWith('HTTP/1.1 401 Unauthorized\r\n'))
  t.true(
    bad.includes(
      '\r\nwww-authenticate: Bearer realm="https://server/a//b", error="invalid_token"\r\n',
    ),
  )
  t.regex(bad, /\r\ncontent-type: text\/plain\r\n/)
  t.regex(bad, /\r\nx-redoubt-decision: [0-9a-f]{32}\r\n/)
  client.send(request('GET /a', bearer(makeToken({ claims: { ...claims, aud: 'x' } }))))
  const misdirected = await client.until('Audiences in Jwt are not allowed')
  t.true(misdirected.includes('HTTP/1.1 403 Forbidden\r\n'))
  const [entry] = pair.server.telemetry.decisions.list({ since: 0, limit: 1 })
  t.like(entry, { reason: 'token-refused', policy: null })
  t.deepEqual(app.requests, [])
})

test('§4 a gRPC caller reads a refusal in gRPC’s form', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(
    app.address,
    guarded({ authorization: [policy({ rules: [] })] }),
  )
  using client = await openRaw(pair.outbound)
  const grpc = 'content-type: application/grpc+proto\r\n'
  for (const [more, status, message] of [
    [bearer(makeToken({ claims: { ...claims, exp: 1 } })), 16, 'Jwt is expired'],
    [bearer(makeToken({ claims: { ...claims, aud: 'x' } })), 7, 'Audiences in Jwt are not allowed'],
    ['', 7, 'RBAC: access denied'],
  ] as const) {
    client.send(request('POST /p.S/M', grpc + more))
    const answer = await client.until(`grpc-message: ${message}\r\n`)
    t.regex(answer, new RegExp(`HTTP/1.1 200 OK\\r\\n[^]*grpc-status: ${status}\\r\\n`), message)
  }
  t.deepEqual(app.requests, [])
})

test('§1.3 rows 6, 8: CUSTOM comes before tokens, tokens before DENY and ALLOW', async (t) => {
  await using app = await openEchoApp()
  const only = (path: string) => [{ to: [{ paths: [path] }] }]
  const authorization = [
    policy({ name: 'c', action: 'CUSTOM', provider: 'none', rules: only('/custom') }),
    policy({ name: 'd', action: 'DENY', rules: only('/deny') }),
    policy({ rules: [{ from: [{ requestPrincipals: ['iss/u'] }] }] }),
  ]
  await using pair = await openFakePair(app.address, guarded({ authorization }))
  const status = async (path: string, more: string) => {
    using client = await openRaw(pair.outbound)
    client.send(request(`GET ${path}`, more))
    return Number((await client.until('\r\n\r\n')).slice(9, 12))
  }
  t.is(await status('/custom', bearer('abc')), 403)
  t.is(await status('/deny', bearer('abc')), 401)
  t.is(await status('/deny', bearer(token)), 403)
  t.is(await status('/', bearer('abc')), 401)
  t.is(await status('/', ''), 403)
  t.is(await status('/', bearer(token)), 200)
})

test('§3.4 rows 1 and 3, §1.5: policies read claims and headers made of them, and nothing of the token’s own', async (t) => {
  await using app = await openEchoApp()
  const when = [
    { key: 'request.auth.claims[scope]', values: ['write'] },
    { key: 'request.headers[authorization]', notValues: ['*'] },
    { key: 'request.headers[x-sub]', notValues: ['root'] },
  ]
  await using pair = await openFakePair(
    app.address,
    guarded({ authorization: [policy({ rules: [{ when }] })] }),
  )
  using client = await openRaw(pair.outbound)
  client.send(request('GET /1', `x-sub: root\r\n${bearer(token)}`))
  t.true((await client.until('GET /1 HTTP/1.1\n')).startsWith('HTTP/1.1 200 '))
  client.send(request('GET /2'))
  t.true((await client.until('access denied')).includes('HTTP/1.1 403 '))
  client.send(request('GET /3', bearer(makeToken({ claims: { ...claims, scope: 'read' } }))))
  t.true((await client.until('access denied')).includes('HTTP/1.1 403 '))
})

test('a body that comes while a token is verified arrives whole, and requests stay in order', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(app.address, guarded())
  using client = await openRaw(pair.outbound)
  const fresh = (at: number) => bearer(makeToken({ claims: { ...claims, jti: `t${at}` } }))
  client.send(request('POST /1', `${fresh(1)}content-length: 10\r\n`, '01234'))
  client.send('56789')
  await client.until('POST /1 HTTP/1.1\n')
  t.true(app.requests[0]?.endsWith('\r\n\r\n0123456789'), app.requests[0])
  const piped = Array.from({ length: 10 }, (_, at) => request(`GET /p${at}`, fresh(at + 10)))
  client.send(piped.join(''))
  for (let at = 0; at < 10; at += 1) await client.until(`GET /p${at} HTTP/1.1\n`)
  t.is(app.requests.length, 11)
})

test('a client that leaves while its token is verified is not forwarded', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(app.address, guarded())
  for (let round = 0; round < 5; round += 1) {
    using gone = await openRaw(pair.outbound)
    gone.send(request('GET /gone', bearer(makeToken({ claims: { ...claims, jti: `g${round}` } }))))
  }
  using client = await openRaw(pair.outbound)
  client.send(request('GET /stays', bearer(token)))
  await client.until('GET /stays HTTP/1.1\n')
  t.true(app.requests.some((seen) => seen.startsWith('GET /stays')))
})

test('a sidecar without rules for tokens loads nothing that verifies them', async (t) => {
  const files = ['proxy/sync/compile.ts', 'proxy/inbound/token.ts', 'proxy/inbound/forward.ts']
  for (const file of files) {
    const text = await readFile(file, 'utf8')
    t.notRegex(text, /^import (?!type ).*#ca\/jwt/m, file)
  }
})
