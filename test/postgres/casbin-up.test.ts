/** A CasbinPolicy whose lines are in PostgreSQL, from `redoubt up` to the sidecar that enforces them. */
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import test from 'ava'
import pg from 'pg'
import type { MeshStatus } from '#deploy/standalone/status.ts'
import { ROLES_MODEL } from '#test/fakes/roles-model.ts'
import { ask, processesOf, startMesh, startRedoubt, temporary, until } from '../process/mesh.ts'
import { freePorts } from '../scenario/free-ports.ts'
import { findPostgres, startCluster } from './cluster.ts'

const bin = process.env['REDOUBT_TEST_POSTGRES'] === undefined ? undefined : findPostgres()
const run = bin === undefined ? test.skip : test.serial
/** Of the role that may only read. */
const PASSWORD = 'only-reads-8c1f'

interface Ports {
  readonly app: number
  readonly web: number
}

async function manifests(database: URL, caFile: string, { app, web }: Ports): Promise<string> {
  const ca = (await readFile(caFile, 'utf8')).replaceAll(/^/gm, '    ')
  const workload = (name: string, port: number): string => `
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: ${name}, namespace: shop, labels: { app: ${name} } }
spec: { serviceAccount: ${name}, ports: [{ name: http, port: ${port} }], address: 127.0.0.1 }
---`
  return `${workload('orders', app)}${workload('web', web)}
apiVersion: v1
kind: Service
metadata: { name: orders, namespace: shop }
spec: { selector: { app: orders }, ports: [{ name: http, port: 80, targetPort: ${app} }] }
---
apiVersion: v1
kind: Secret
metadata: { name: db, namespace: shop }
stringData: { password: ${PASSWORD} }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: db-ca, namespace: shop }
data:
  ca.pem: |
${ca}
---
apiVersion: redoubt.io/v1alpha1
kind: CasbinPolicy
metadata: { name: roles, namespace: shop }
spec:
${ROLES_MODEL}
  policy:
    postgres:
      host: ${database.hostname}
      port: ${database.port}
      database: postgres
      user: reader
      table: casbin_rule
      passwordFrom: { secret: { name: db, key: password } }
      tls: { ca: { configMap: { name: db-ca, key: ca.pem } } }
      refresh: 1s
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ask, namespace: shop }
spec:
  selector: { matchLabels: { app: orders } }
  action: CUSTOM
  provider: { name: roles }
  rules: [{ to: [{ operation: { notPaths: [/health] } }] }]
`
}

run(
  'users §1.4: rows of PostgreSQL are enforced by a sidecar, an edit too; while the database is away the last good ones are, and status says so',
  async (t) => {
    const cluster = await startCluster(bin ?? '')
    let isUp = true
    const app = createServer((_, response) => void response.end('orders')).listen(0, '127.0.0.1')
    await once(app, 'listening')
    const at = app.address()
    const owner = await connect(cluster)
    await using folder = await temporary()
    try {
      await owner.query(`create role reader login password '${PASSWORD}'`)
      await owner.query(
        `create table casbin_rule (id serial primary key, ptype text, v0 text, v1 text, v2 text, v3 text, v4 text, v5 text)`,
      )
      await owner.query('grant select on casbin_rule to reader')
      await owner.query(
        `insert into casbin_rule (ptype, v0, v1, v2) values
         ('p', 'reader', '/orders/{*}', 'GET'), ('g', 'cluster.local/ns/shop/sa/web', 'reader', null)`,
      )
      const [web = 0] = await freePorts(1)
      const ports = { app: typeof at === 'object' && at !== null ? at.port : 0, web }
      const file = join(folder.path, 'mesh.yaml')
      await writeFile(file, await manifests(new URL(cluster.url), cluster.caFile, ports))
      const state = join(folder.path, 'state')
      await using mesh = await startMesh(['-f', file, '--state', state])
      const { outbound = '' } = mesh.workload('web')
      const status = async (path: string): Promise<number> => {
        const headers = { host: 'orders.shop.svc.cluster.local' }
        return (await ask(outbound, { path, headers })).status
      }
      const comesTo = (path: string, wanted: number): Promise<true> =>
        until(async () => ((await status(path)) === wanted ? true : undefined))

      await comesTo('/orders/1', 200)
      t.deepEqual([await status('/else'), await status('/health')], [403, 200])

      await owner.query(`update casbin_rule set v1 = '/else' where ptype = 'p'`)
      await comesTo('/else', 200)
      t.is(await status('/orders/1'), 403)

      // Nobody but the policy server has what opens the database.
      const read = (pid: number, name: string) => readFile(`/proc/${pid}/${name}`, 'latin1')
      for (const [pid, command] of await processesOf(mesh.mark, mesh.child.pid)) {
        const known = `${await read(pid, 'environ')}${await read(pid, 'cmdline')}`
        t.false(known.includes(PASSWORD), command)
      }
      for (const name of ['orders', 'web']) {
        const dump = await ask(mesh.workload(name).admin ?? '', { path: '/config_dump' })
        t.is(dump.status, 200)
        t.false(dump.body.includes(PASSWORD) || dump.body.includes('casbin_rule'), name)
      }
      t.false(`${mesh.err()}${mesh.out.join('\n')}`.includes(PASSWORD))

      const well = startRedoubt(['status', '--state', state, '--output', 'json'])
      t.is(await well.exited, 0, well.err())
      await owner.end()
      isUp = false
      await cluster[Symbol.asyncDispose]()
      const told = await until(async () => {
        const asked = startRedoubt(['status', '--state', state, '--output', 'json'])
        if ((await asked.exited) !== 1) return undefined
        return (JSON.parse(asked.out.join('')) as MeshStatus).unread
      })
      t.like(told, [{ policy: 'shop/roles', kept: true }])
      t.regex(told[0]?.why ?? '', /ECONNREFUSED|terminat/i)
      t.false(JSON.stringify(told).includes(PASSWORD))
      t.deepEqual([await status('/else'), await status('/orders/1')], [200, 403])
      const text = startRedoubt(['status', '--state', state])
      await text.exited
      t.regex(text.out.join('\n'), /CasbinPolicy shop\/roles: .*\n.*last good lines are in force/)
    } finally {
      if (isUp) {
        await owner.end()
        await cluster[Symbol.asyncDispose]()
      }
      app.closeAllConnections()
      app.close()
    }
  },
)

async function connect({ url, passwordFile, caFile }: Awaited<ReturnType<typeof startCluster>>) {
  const { hostname, port, username, pathname } = new URL(url)
  const ca = await readFile(caFile, 'utf8')
  const owner = new pg.Client({
    host: hostname,
    port: Number(port),
    user: username,
    password: (await readFile(passwordFile, 'utf8')).trimEnd(),
    database: pathname.slice(1),
    ssl: { ca, host: hostname } as object,
  })
  await owner.connect()
  return owner
}
