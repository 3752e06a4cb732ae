/** A gateway in a whole mesh: strangers come in by Istio's manifests, and claims of their tokens say where they go. */
import type { RequestListener } from 'node:http'
import test from 'ava'
import { JWKS, makeToken, strangerKey } from '#test/fakes/fake-tokens.ts'
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
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { selector: { app: web }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: door, namespace: edge, labels: { istio: ingressgateway } }
spec: { serviceAccount: door, ports: [{ name: http, port: 8080 }] }
---
apiVersion: v1
kind: Service
metadata: { name: door, namespace: edge }
spec: { selector: { istio: ingressgateway }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: door, namespace: edge }
spec:
  selector: { istio: ingressgateway }
  servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ['*.shop.example'] }]
---
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
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: web, namespace: shop }
spec:
  host: web
  subsets: [{ name: v1, labels: { version: v1 } }, { name: v2, labels: { version: v2 } }]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: istio-system }
spec: { mtls: { mode: STRICT } }
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
