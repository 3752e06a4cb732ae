/** CUSTOM in a whole mesh: an authorizer with a sidecar of its own, and an operator's own Casbin model. */
import test from 'ava'
import { ROLES_MODEL } from '#test/fakes/roles-model.ts'
import { startMesh } from './mesh.ts'

const workload = (name: string): string => `
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: ${name}, namespace: shop, labels: { app: ${name} } }
spec: { serviceAccount: ${name}, ports: [{ name: http, port: 8080 }], address: 127.0.0.1 }
---
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: shop }
spec: { selector: { app: ${name} }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---`

const common = `${['web', 'orders', 'gate'].map(workload).join('\n')}
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: shop }
spec: { mtls: { mode: STRICT } }
---`

const custom = (provider: string): string => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ask, namespace: shop }
spec:
  selector: { matchLabels: { app: orders } }
  action: CUSTOM
  provider: { name: ${provider} }
  rules: [{ to: [{ operation: { notPaths: [/health] } }] }]
`

test.serial(
  'an authorizer of the mesh is asked over mutual TLS, by the sidecar that guards the app',
  async (t) => {
    const asked: string[] = []
    await using mesh = await startMesh({
      manifests: `
apiVersion: redoubt.io/v1alpha1
kind: Mesh
metadata: { name: shop }
spec:
  extensionProviders:
    - name: gate
      envoyExtAuthzHttp:
        service: gate.shop.svc.cluster.local
        port: 80
        pathPrefix: /check
        includeRequestHeadersInCheck: [x-user]
        headersToUpstreamOnAllow: [x-checked]
---
${common}
${custom('gate')}`,
      apps: {
        gate: (request, response) => {
          asked.push(String(request.headers['x-forwarded-client-cert']))
          const allowed = request.headers['x-user'] === 'ann'
          response.writeHead(allowed ? 200 : 401, {
            'x-checked': 'by-gate',
            'www-authenticate': 'x',
          })
          response.end(allowed ? '' : 'who are you')
        },
        orders: (request, response) => void response.end(String(request.headers['x-checked'])),
      },
    })
    const web = mesh.workload('web')
    const allowed = await web.call('orders', '/orders/1', { headers: { 'x-user': 'ann' } })
    t.like(allowed, { status: 200, body: 'by-gate' })
    t.like(await web.call('orders', '/orders/1'), { status: 401, body: 'who are you' })
    t.like(await web.call('orders', '/health'), { status: 200, body: 'undefined' })
    t.is(asked.length, 2)
    t.regex(asked[0] ?? '', /;URI=spiffe:\/\/cluster.local\/ns\/shop\/sa\/orders$/)
    await mesh.kill('gate')
    t.like(await web.call('orders', '/orders/1', { headers: { 'x-user': 'ann' } }), { status: 403 })
    t.like(await web.call('orders', '/health'), { status: 200 })
  },
)

test.serial(
  "an operator's own Casbin model decides, an edit of its lines is in force, a faulty one is not",
  async (t) => {
    await using mesh = await startMesh({
      manifests: `${common}
apiVersion: redoubt.io/v1alpha1
kind: CasbinPolicy
metadata: { name: roles, namespace: shop }
spec:
${ROLES_MODEL}
  policy: { configMap: { name: lines, key: csv } }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: lines, namespace: shop }
data:
  csv: |
    p, reader, /orders/{*}, GET
    g, cluster.local/ns/shop/sa/web, reader
---
${custom('roles')}`,
    })
    const web = mesh.workload('web')
    const status = async (path: string) => (await web.call('orders', path)).status
    const name = 'inbound/shop/orders'
    const applied = () =>
      mesh.log.filter(({ event, fields }) => event === 'policy-applied' && fields['name'] === name)
        .length
    const before = applied()
    t.is(await status('/orders/1'), 200)
    t.is(await status('/else'), 403)
    t.is(await status('/health'), 200)
    t.is((await mesh.workload('gate').call('orders', '/orders/1')).status, 403)
    mesh.edit('p, reader, /orders/{*}, GET', 'p, reader, /else, GET')
    await mesh.until(() => applied() > before, 'the edit')
    t.is(await status('/else'), 200)
    t.is(await status('/orders/1'), 403)
    mesh.edit('p, reader, /else, GET', 'p, reader, /else')
    const refused = () => mesh.log.find(({ event }) => event === 'policy-rejected')
    await mesh.until(() => refused() !== undefined, 'the refusal')
    t.regex(
      String(refused()?.fields['reason']),
      /policy of CasbinPolicy shop\/roles, line 1: p has 2 columns/,
    )
    t.is(await status('/else'), 200)
  },
)
