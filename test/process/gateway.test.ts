/** `redoubt up` with a Gateway: strangers come in where the ready line says, by tokens, and edits are followed. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'

import { doorManifests } from '#test/fakes/door-manifests.ts'
import { JWKS, makeToken } from '#test/fakes/fake-tokens.ts'
import { ask, startMesh, temporary, until } from './mesh.ts'

const APP = `import { createServer } from 'node:http'
createServer((_request, response) => response.end(process.argv[2])).listen(process.env.PORT, '127.0.0.1')
`

/** Destinations are told a moment after the listeners are there. */
const found = <T extends { readonly status: number }>(reply: T): T | undefined =>
  reply.status === 200 ? reply : undefined

const workload = (version: string): string => `
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: web-${version}, namespace: shop, labels: { app: web, version: ${version} } }
spec: { serviceAccount: web, ports: [{ name: http, port: 8080 }], run: { command: [node, app.mjs, ${version}] } }
---`

const MANIFESTS = `
${workload('v1')}
${workload('v2')}
${doorManifests('*.example')}
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: web, namespace: shop }
spec:
  hosts: [www.example]
  gateways: [edge/door]
  http:
    - match: [{ headers: { '@request.auth.claims.group': { exact: beta } } }]
      route: [{ destination: { host: web, subset: v2 } }]
    - route: [{ destination: { host: web, subset: v1 } }]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: tokens, namespace: edge }
spec: { jwtRules: [{ issuer: iss, jwks: '${JWKS}' }] }
`

test('§5.4 a stranger comes in where the ready line says, and claims say where he goes', async (t) => {
  await using folder = await temporary()
  const file = join(folder.path, 'mesh.yaml')
  await writeFile(file, MANIFESTS)
  await writeFile(join(folder.path, 'app.mjs'), APP)
  const state = join(folder.path, 'state')
  await using mesh = await startMesh(['-f', file, '--state', state])
  t.deepEqual(mesh.ready.notReady, [])
  const door = mesh.workload('door')
  t.deepEqual(door.gateway, { 80: door.inbound?.['8080'] })
  t.false('gateway' in mesh.workload('web-v1'))

  const call = (address: string, claims?: object, host = 'www.example') => {
    const token = claims && makeToken({ claims: { iss: 'iss', sub: 'u', ...claims } })
    const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` }
    return ask(address, { path: '/', headers: { host, ...authorization } })
  }
  const { 80: address = '' } = door.gateway ?? {}
  t.is((await call(address, { group: 'beta' })).body, 'v2')
  t.is((await call(address, { group: ['alpha', 'beta'] })).body, 'v2')
  t.is((await call(address, { group: 'alpha' })).body, 'v1')
  t.is((await call(address)).body, 'v1')
  t.is((await call(address, {}, 'other')).status, 404)

  // Another route is in force in place, another port starts the gateway anew.
  await writeFile(file, MANIFESTS.replace('exact: beta', 'exact: gamma'))
  await until(async () => (await call(address, { group: 'gamma' })).body === 'v2' || undefined)
  await writeFile(file, MANIFESTS.replaceAll(/(number|port): 80\b/g, '$1: 81'))
  const moved = await until(async () => {
    const line = JSON.parse(await readFile(join(state, 'mesh.json'), 'utf8')) as typeof mesh.ready
    return line.workloads.find(({ name }) => name === 'door')?.gateway?.['81']
  })
  const reply = await until(() => call(moved, { group: 'beta' }).then(found, () => undefined))
  t.is(reply.body, 'v2')
})
