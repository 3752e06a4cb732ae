/** A gateway in a whole mesh: strangers come in by Istio's manifests, and claims of their tokens say where they go. */
import { writeFile } from 'node:fs/promises'
import type { RequestListener, Server } from 'node:http'
import { Agent, request } from 'node:https'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import test from 'ava'
import { temporaryDir } from '#test/ca/harness.ts'
import { doorManifests } from '#test/fakes/door-manifests.ts'
import { JWKS, makeToken, strangerKey } from '#test/fakes/fake-tokens.ts'
import { createWebCa, type WebIdentity } from '#test/fakes/fake-web-ca.ts'
import { openRaw } from '#test/fakes/raw-http.ts'
import { type CallOptions, createCaller } from './app.ts'
import { type Mesh, startMesh } from './mesh.ts'

const workload = (name: string, app: string, version: string): string => `
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: ${name}, namespace: shop, labels: { app: ${app}, version: ${version} } }
spec: { serviceAccount: ${app}, ports: [{ name: http, port: 8080 }], address: 127.0.0.1 }
---`

const manifests = `
${workload('v1', 'web', 'v1')}
${workload('v2', 'web', 'v2')}
${doorManifests('*.shop.example')}
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: web, namespace: shop }
spec:
  hosts: [www.shop.example]
  gateways: [edge/door]
  http:
    - match: [{ headers: { '@request.auth.claims.group': { exact: a } } }]
      route: [{ destination: { host: web, subset: v1 } }]
    - match: [{ headers: { '@request.auth.claims[realm][roles]': { prefix: adm } }, withoutHeaders: { '@request.auth.claims.banned': { regex: .+ } } }]
      route: [{ destination: { host: web, subset: v2 } }]
    - match: [{ headers: { '@request.auth.claims.realm.roles': { exact: guest } } }]
      directResponse: { status: 418, body: { string: teapot } }
      headers: { response: { set: { x-from: gateway } } }
    - match: [{ headers: { x-sub: { exact: ann } } }]
      rewrite: { uri: /by-claim-header }
      route: [{ destination: { host: web, subset: v2 } }]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: tokens, namespace: edge }
spec:
  selector: { matchLabels: { istio: ingressgateway } }
  jwtRules: [{ issuer: iss, jwks: '${JWKS}', outputClaimToHeaders: [{ header: x-sub, claim: sub }] }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: no-secrets, namespace: edge }
spec:
  selector: { matchLabels: { istio: ingressgateway } }
  action: DENY
  rules: [{ to: [{ operation: { paths: [/secret*] } }] }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: from-the-door, namespace: shop }
spec:
  selector: { matchLabels: { app: web } }
  rules: [{ from: [{ source: { principals: [cluster.local/ns/edge/sa/door] } }], to: [{ operation: { notMethods: [DELETE] } }] }]
`

/** Tells who answered and all that it was sent. */
const tell =
  (name: string): RequestListener =>
  ({ method, url, headers }, response) =>
    response.end(JSON.stringify({ name, method, url, headers }))

interface Told {
  readonly name: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
}

const HOST = 'www.shop.example'

async function startDoor(change = (text: string): string => text): Promise<Mesh> {
  return startMesh({ manifests: change(manifests), apps: { v1: tell('v1'), v2: tell('v2') } })
}

const bearer = (claims: object): CallOptions => ({
  headers: {
    authorization: `Bearer ${makeToken({ claims: { iss: 'iss', sub: 'u', ...claims } })}`,
  },
})

function doorOf(mesh: Mesh, port = 8080) {
  const address = mesh.workload('door').proxy.addresses.inbound[port] ?? ''
  return { address, ...createCaller(address) }
}

test.serial('§5.4 claims of a verified token say which subset a stranger reaches', async (t) => {
  await using mesh = await startDoor()
  using door = doorOf(mesh)
  const call = (options?: CallOptions, path = '/x?y=1') =>
    mesh.during(door.call(HOST, path, options))
  const reached = async (options?: CallOptions) => {
    const { status, body } = await call(options)
    return status === 200 ? (JSON.parse(body) as Told).name : status
  }
  t.is(await reached(bearer({ group: 'a' })), 'v1')
  t.is(await reached(bearer({ group: ['b', 'a'] })), 'v1', 'a list with one that is')
  t.is(await reached(bearer({ group: 'a', realm: { roles: ['admin'] } })), 'v1', 'the first route')
  t.is(await reached(bearer({ realm: { roles: ['dev', 'admin'] } })), 'v2')
  t.is(await reached(bearer({ realm: { roles: 'administrator' } })), 'v2')
  t.is(await reached(bearer({ realm: { roles: ['admin'] }, banned: 'yes' })), 404)
  t.is(
    await reached(bearer({ realm: { roles: ['admin'] }, banned: 1 })),
    'v2',
    'numbers are no text',
  )
  t.is(await reached(bearer({ group: 'A' })), 404)
  t.is(await reached(bearer({ 'realm.roles': 'admin' })), 404)
  t.is(await reached(bearer({ sub: 'ann' })), 'v2', 'a header that the token made')
  t.is(await reached(), 404, 'without a token no claim is known')
  t.is(await reached({ headers: { 'x-sub': 'ann' } }), 404, 'nor a header that only tokens make')
  const teapot = await call(bearer({ realm: { roles: ['guest'] } }))
  t.like(teapot, { status: 418, body: 'teapot' })
  t.is(teapot.headers['x-from'], 'gateway')
})

test.serial('§5.4 a claim is never read from a header: nobody can say it himself', async (t) => {
  await using mesh = await startDoor()
  using door = doorOf(mesh)
  using client = await openRaw(door.address)
  const forged = '@request.auth.claims.group: a\r\n'
  client.send(`GET / HTTP/1.1\r\nhost: ${HOST}\r\n${forged}\r\n`)
  t.true((await client.until('\r\n\r\n')).startsWith('HTTP/1.1 400 '))
  const { status } = await mesh.during(
    door.call(HOST, '/', { headers: { 'request.auth.claims.group': 'a', group: 'a' } }),
  )
  t.is(status, 404)
  const other = makeToken({ claims: { iss: 'iss', sub: 'u', group: 'a' }, key: strangerKey })
  for (const token of [other, 'x.y.z']) {
    const headers = { authorization: `Bearer ${token}` }
    const refused = await mesh.during(door.call(HOST, '/', { headers }))
    t.is(refused.status, 401)
    t.regex(String(refused.headers['www-authenticate']), /realm="http:\/\/www\.shop\.example\/"/)
  }
  t.is(mesh.workload('v1').app.requests() + mesh.workload('v2').app.requests(), 0)
})

test.serial('§1.3 a gateway decides by its own policies before it routes', async (t) => {
  await using mesh = await startDoor()
  using door = doorOf(mesh)
  const call = (path: string, options: CallOptions = bearer({ group: 'a' }), host = HOST) =>
    mesh.during(door.call(host, path, options))
  const refused = await call('/a/../secret/x')
  t.like(refused, { status: 403, body: 'RBAC: access denied' })
  t.regex(String(refused.headers['x-redoubt-decision']), /^[0-9a-f]{32}$/)
  t.is((await call('/secret', {}, 'nobody.example')).status, 403, 'also what has no route')
  t.is((await call('/', {}, 'nobody.example')).status, 404)
  t.is((await call('/', bearer({ group: 'a' }), 'shop.example')).status, 404)
  t.is((await call('/', bearer({ group: 'a' }), 'WWW.shop.example:8080')).status, 200)
  // Refused by the sidecar behind it, whose word it passes on.
  const behind = await call('/', { ...bearer({ group: 'a' }), method: 'DELETE' })
  t.is(behind.status, 403)
  t.regex(String(behind.headers['x-redoubt-decision']), /^[0-9a-f]{32}$/)
  await mesh.pass(1000)
  const lines = mesh.workload('door').accessLog
  const [denied] = lines.filter((line) => line['decision'] === 'deny')
  t.is(denied?.['decision_reason'], 'DENY policy edge/no-secrets matched by rule 0')
  t.true(lines.some((line) => line['response_code'] === 404 && line['response_flags'] === 'NR'))
})

test.serial(
  'users §2.2.44 §7.4 nothing that a stranger says of himself gets in, and his address comes last',
  async (t) => {
    await using mesh = await startDoor((text) =>
      text.replace(
        'rules: [{ to: [{ operation: { paths: [/secret*] } }] }]',
        'rules: [{ from: [{ source: { remoteIpBlocks: [9.9.9.9] } }] }, { when: [{ key: "request.headers[x-forwarded-proto]", values: [https] }] }]',
      ),
    )
    using door = doorOf(mesh)
    const lies = {
      'x-forwarded-for': '9.9.9.9',
      'x-forwarded-proto': 'https',
      'x-forwarded-client-cert': 'URI=spiffe://cluster.local/ns/shop/sa/root',
      'x-envoy-attempt-count': '7',
      'x-envoy-internal': 'true',
      'x-redoubt-decision': 'allow',
      'x-request-id': 'mine',
    }
    const { headers = {} } = bearer({ group: 'a' })
    const reply = await mesh.during(
      door.call(HOST, '/a/./%62//c?d=/../e#f', { headers: { ...headers, ...lies } }),
    )
    t.is(reply.status, 200)
    const told = JSON.parse(reply.body) as Told
    t.is(told.url, '/a/b//c?d=/../e', 'what was decided on is what is sent')
    t.is(told.headers['x-forwarded-for'], '9.9.9.9,127.0.0.1')
    t.is(told.headers['x-forwarded-proto'], 'http')
    t.is(told.headers['x-envoy-attempt-count'], '1')
    t.regex(String(told.headers['x-request-id']), /^[0-9a-f-]{36}$/)
    t.regex(
      String(told.headers['x-forwarded-client-cert']),
      /URI=spiffe:\/\/cluster\.local\/ns\/edge\/sa\/door$/,
    )
    t.deepEqual(
      Object.keys(told.headers).filter((name) => /internal|redoubt|authorization/.test(name)),
      [],
    )
  },
)

interface Asking {
  readonly servername?: string
  readonly ca: string
  readonly client?: WebIdentity
  readonly host?: string
}

/** Over TLS, a connection each; a status, or why there is none. */
function ask(address: string, { servername = HOST, ca, client, host = HOST }: Asking) {
  const [hostname, port] = address.split(':')
  const identity = client === undefined ? {} : { cert: client.certificate, key: client.key }
  return new Promise<{ readonly status: number | string; readonly body: string }>((resolve) => {
    const agent = new Agent({ maxCachedSessions: 0 })
    const options = { agent, hostname, port, servername, ca, ...identity, headers: { host } }
    const sent = request(options, (response) => {
      let body = ''
      response.on('data', (chunk: Buffer) => {
        body += chunk.toString()
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
    })
    sent.on('error', (cause: NodeJS.ErrnoException) =>
      resolve({ status: cause.code ?? cause.message, body: '' }),
    )
    sent.end()
  })
}

test.serial('§7.2 HTTPS ends at the gateway, by names, Secrets, files and clients', async (t) => {
  await using dir = await temporaryDir()
  const ca = await createWebCa()
  const other = await createWebCa()
  const [shop, api] = await Promise.all([
    ca.issue(HOST, 'server'),
    ca.issue('api.example', 'server'),
  ])
  const file = (name: string): string => join(dir.path, name)
  const write = async (identity: WebIdentity): Promise<void> => {
    await writeFile(file('crt'), identity.certificate)
    await writeFile(file('key'), identity.key)
  }
  await write(api)
  await writeFile(file('ca'), ca.root)
  const secret = `
---
apiVersion: v1
kind: Secret
metadata: { name: shop-tls, namespace: edge }
type: kubernetes.io/tls
stringData: ${JSON.stringify({ 'tls.crt': shop.certificate, 'tls.key': shop.key })}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: api, namespace: edge }
spec:
  hosts: [api.example]
  gateways: [door]
  http: [{ match: [{ scheme: { exact: https } }], directResponse: { status: 200, body: { string: api } } }]
`
  const servers = `
    - { port: { number: 80, name: http, protocol: HTTP }, hosts: ['*'], tls: { httpsRedirect: true } }
    - { port: { number: 443, name: shop, protocol: HTTPS }, hosts: ['*.shop.example'], tls: { mode: SIMPLE, credentialName: shop-tls } }
    - { port: { number: 443, name: api, protocol: HTTPS }, hosts: [./api.example], tls: { mode: MUTUAL, serverCertificate: ${file('crt')}, privateKey: ${file('key')}, caCertificates: ${file('ca')}, subjectAltNames: [ann.example] } }
    - { port: { number: 443, name: gone, protocol: HTTPS }, hosts: [gone.example], tls: { mode: SIMPLE, credentialName: nowhere } }`
  await using mesh = await startDoor(
    (text) =>
      text
        .replace(/\n {2}servers: .*/, `\n  servers:${servers}`)
        .replace(
          "    - match: [{ headers: { '@request.auth.claims.group': { exact: a } } }]\n",
          '    -\n',
        )
        .replace('    -\n      route', '    - route') + secret,
  )
  using plain = doorOf(mesh)
  const { address } = doorOf(mesh, 443)
  const asked = (asking: Partial<Asking> = {}) =>
    mesh.during(ask(address, { ca: ca.root, ...asking }))

  const moved = await mesh.during(plain.call('www.shop.example', '/a?b'))
  t.is(moved.status, 301)
  t.is(moved.headers.location, 'https://www.shop.example/a?b')

  const first = await asked()
  t.is(first.status, 200)
  t.is((JSON.parse(first.body) as Told).headers['x-forwarded-proto'], 'https')
  t.is(
    (await asked({ servername: 'nobody.example' })).status,
    'ECONNRESET',
    'no server has the name',
  )
  t.is((await asked({ host: 'api.example' })).status, 404, 'each server has its own hosts')
  t.is((await asked({ servername: 'gone.example' })).status, 'ECONNRESET', 'it has nothing to show')

  const [ann, bob, stranger] = await Promise.all([
    ca.issue('ann.example', 'client'),
    ca.issue('bob.example', 'client'),
    other.issue('ann.example', 'client'),
  ])
  const toApi = { servername: 'api.example', host: 'api.example' }
  t.deepEqual(await asked({ ...toApi, client: ann }), { status: 200, body: 'api' })
  for (const [client, who] of [
    [undefined, 'nobody'],
    [bob, 'another name'],
    [stranger, 'another CA'],
  ] as const) {
    const { status } = await asked({ ...toApi, ...(client && { client }) })
    t.is(typeof status, 'string', `${who} is refused: ${status}`)
  }

  // Files are renewed in place; a broken one changes nothing.
  await writeFile(file('crt'), 'broken')
  await mesh.pass(6000)
  t.is((await asked({ ...toApi, client: ann })).status, 200)
  const renewed = await createWebCa()
  await write(await renewed.issue('api.example', 'server'))
  await mesh.pass(6000)
  t.is((await asked({ ...toApi, client: ann, ca: renewed.root })).status, 200)
  const events = mesh.log.map(({ event, fields }) => `${event} ${String(fields['server'])}`)
  for (const wanted of [
    'gateway-credentials-unusable edge/door/gone',
    'gateway-credentials-unusable edge/door/api',
    'gateway-client-refused edge/door/api',
  ]) {
    t.true(events.includes(wanted), wanted)
  }
  const dump = await fetch(`http://${mesh.workload('door').proxy.addresses.admin}/config_dump`)
  const text = await dump.text()
  t.true(text.includes('edge/door/shop'))
  t.false(/PRIVATE KEY|BEGIN CERTIFICATE/.test(text), 'no key is shown')
})

test.serial(
  'a body, a slow one and an upgrade pass a gateway as they pass a sidecar',
  async (t) => {
    const big = 'x'.repeat(300_000)
    await using mesh = await startMesh({
      manifests: manifests.replace(
        /\n {2}http:\n[\s\S]*?\n---/,
        '\n  http: [{ route: [{ destination: { host: web, subset: v1 } }] }]\n---',
      ),
      apps: {
        v1: (received, response) => {
          const { server } = received.socket as unknown as { server: Server }
          if (server.listenerCount('upgrade') === 0) {
            server.on('upgrade', (_request, socket: Socket) => {
              socket.write(
                'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n',
              )
              socket.pipe(socket)
            })
          }
          let bytes = 0
          received.on('data', (chunk: Buffer) => {
            bytes += chunk.length
          })
          received.on('end', () =>
            response.end(`${bytes} ${received.headers['transfer-encoding']} ${big}`),
          )
        },
      },
    })
    using door = doorOf(mesh)
    const posted = await mesh.during(door.call(HOST, '/', { method: 'POST', body: big }))
    t.is(posted.body.length, `300000 undefined ${big}`.length)
    using client = await openRaw(door.address)
    client.send(
      `POST / HTTP/1.1\r\nhost: ${HOST}\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n`,
    )
    client.send('2\r\nde\r\n0\r\n\r\n')
    await client.until('5 chunked x')
    using upgraded = await openRaw(door.address)
    upgraded.send(`GET / HTTP/1.1\r\nhost: ${HOST}\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n`)
    await upgraded.until('HTTP/1.1 101 ')
    upgraded.send('\x00ping')
    await upgraded.until('\x00ping')
    client.send(`CONNECT x:1 HTTP/1.1\r\nhost: x:1\r\n\r\n`)
    await client.until('HTTP/1.1 404 ')
    const fields = Array.from({ length: 98 }, (_, at) => `a${at}: 1\r\n`).join('')
    using crowded = await openRaw(door.address)
    crowded.send(`GET / HTTP/1.1\r\nhost: ${HOST}\r\n${fields}\r\n`)
    await crowded.until('HTTP/1.1 431 ')
  },
)

test.serial(
  '§5.5, §5.8 weights, retries and timeouts hold at a gateway as they do at a sidecar',
  async (t) => {
    const rules = `
  http:
    - match: [{ uri: { prefix: /flaky } }]
      retries: { attempts: 2, retryOn: "503" }
      route: [{ destination: { host: web, subset: v1 } }]
    - match: [{ uri: { prefix: /slow } }]
      timeout: 2s
      route: [{ destination: { host: web, subset: v1 } }]
    - match: [{ uri: { exact: /gone } }]
      route: [{ destination: { host: web, subset: v3 } }]
    - route: [{ destination: { host: web, subset: v1 }, weight: 1 }, { destination: { host: web, subset: v2 }, weight: 3 }]
---`
    let tries = 0
    const draws = [0.1, 0.3, 0.5, 0.9]
    await using mesh = await startMesh({
      manifests: manifests.replace(/\n {2}http:\n[\s\S]*?\n---/, rules),
      random: () => draws[tries % draws.length] ?? 0,
      apps: {
        v1: ({ url }, response) => {
          tries += 1
          if (url === '/slow') return
          response.statusCode = url === '/flaky' && tries < 3 ? 503 : 200
          response.end('v1')
        },
        v2: (_request, response) => {
          tries += 1
          response.end('v2')
        },
      },
    })
    using door = doorOf(mesh)
    const call = (path: string) => mesh.during(door.call(HOST, path))
    t.like(await call('/flaky'), { status: 200, body: 'v1' })
    t.is(tries, 3)
    t.like(await call('/slow'), { status: 504, body: 'upstream request timeout' })
    t.is((await call('/gone')).status, 503)
    const { admin } = mesh.workload('door').proxy.addresses
    const clusters = (await (await fetch(`http://${admin}/clusters`)).json()) as { name: string }[]
    t.deepEqual(
      clusters.map(({ name }) => name),
      ['v1', 'v2'].map((subset) => `outbound|80|${subset}|web.shop.svc.cluster.local`),
    )
    tries = 0
    const seen: string[] = []
    for (let at = 0; at < 8; at += 1) seen.push((await call('/')).body)
    t.deepEqual(seen, ['v1', 'v2', 'v2', 'v2', 'v1', 'v2', 'v2', 'v2'])
  },
)
