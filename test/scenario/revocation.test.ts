/** What `ca revoke` comes to: from the CA through agents to sidecars, with real sockets. */
import test from 'ava'
import type { DenyKind } from '#ca/x509/index.ts'
import { startLoad } from './load.ts'
import { type Mesh, startMesh } from './mesh.ts'

const workload = (name: string): string => `
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: ${name}, namespace: shop, labels: { app: ${name} } }
spec:
  serviceAccount: ${name}
  ports: [{ name: http, port: 8080 }]
  address: 127.0.0.1
---
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: shop }
spec:
  selector: { app: ${name} }
  ports: [{ name: http, port: 80, targetPort: 8080 }]
---`

const manifests = `
apiVersion: redoubt.io/v1alpha1
kind: Mesh
metadata: { name: shop }
spec: { trustDomain: shop.example }
---
${['front', 'back', 'other'].map(workload).join('\n')}
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: shop }
spec: { mtls: { mode: STRICT } }
`

const start = () => startMesh({ manifests, leafTtl: 'PT1H' })

/** Revokes as an administrator does; resolves with the generation of the list. */
function deny(mesh: Mesh, kind: DenyKind, value: string): Promise<number> {
  const until = mesh.now().add({ hours: 1 })
  const at = mesh.now().epochMilliseconds
  const call = { at, caller: 'admin', action: 'revoke', detail: value, outcome: 'done' }
  return mesh.ca.current().denials.deny([{ kind, value, until }], call)
}

/** Milliseconds of the mesh's clock until everybody who follows has acknowledged `generation`. */
function acknowledged(mesh: Mesh, generation: number): Promise<number> {
  const isUpToDate = (): boolean => {
    const followers = mesh.ca.current().subscribers()
    return followers.length > 0 && followers.every(({ denials }) => denials === generation)
  }
  return mesh.until(isUpToDate, 'everybody to acknowledge')
}

test.serial(
  'a revoked certificate is refused everywhere, its connections end, and its workload gets another, within 2 s (users §1.3.31)',
  async (t) => {
    await using mesh = await start()
    const [front, back, other] = ['front', 'back', 'other'].map(mesh.workload)
    if (!front || !back || !other) return t.fail()
    t.is((await front.call('back', '/')).status, 200)
    await using load = startLoad(mesh, 2, () => other.call('back', '/'))
    const stolen = front.proxy.svid.current

    const generation = await deny(mesh, 'serial', stolen.serial)
    t.true((await acknowledged(mesh, generation)) < 2000)
    const cutOff = () => mesh.log.some(({ event }) => event === 'denied-peers-cut-off')
    t.true((await mesh.until(cutOff, 'the open connection to end')) < 2000)
    const ms = await mesh.until(
      () => front.proxy.svid.current.serial !== stolen.serial,
      'a certificate in its place',
    )
    t.true(ms < 2000, `${ms} ms`)
    t.is((await mesh.during(front.call('back', '/'))).status, 200, 'it is the workload still')
    t.true(back.proxy.svid.current.bundles[0]?.denies?.('serial', stolen.serial, mesh.now()))
    t.deepEqual(load.lost.slice(0, 5), [], 'nobody else has noticed')
  },
)

test.serial(
  'a revoked identity is out: no connection, no new certificate, until it is let in again',
  async (t) => {
    await using mesh = await start()
    const [front, other] = ['front', 'other'].map(mesh.workload)
    if (!front || !other) return t.fail()
    t.is((await front.call('back', '/')).status, 200)
    const call = { at: 0, caller: 'admin', action: 'allow', detail: '', outcome: 'done' }
    await acknowledged(mesh, await deny(mesh, 'spiffe-id', front.spiffeId))
    t.is((await mesh.during(front.call('back', '/'))).status, 503)
    t.is((await mesh.during(other.call('front', '/'))).status, 503, 'as a server neither')
    t.deepEqual(front.agent.held(), [])
    t.is((await other.call('back', '/')).status, 200)

    const name = { kind: 'spiffe-id', value: front.spiffeId } as const
    await acknowledged(mesh, await mesh.ca.current().denials.lift([name], call))
    await mesh.until(() => front.agent.held().length > 0, 'a certificate')
    await mesh.pass(1000)
    t.is((await mesh.during(front.call('back', '/'))).status, 200)
  },
)

test.serial(
  'nobody forgets what is denied: not a CA, an agent or a sidecar that is away, nor those who start then',
  async (t) => {
    await using mesh = await start()
    const [front, other] = ['front', 'other'].map(mesh.workload)
    if (!front || !other) return t.fail()
    await acknowledged(mesh, await deny(mesh, 'spiffe-id', front.spiffeId))
    const isOut = async (what: string): Promise<void> => {
      t.is((await mesh.during(front.call('back', '/'))).status, 503, what)
      t.is((await mesh.during(other.call('back', '/'))).status, 200, what)
    }
    await isOut('at first')
    await mesh.ca.stop()
    await isOut('while the CA is away')
    await mesh.ca.start()
    await mesh.restartAgent('back', async () => {
      await isOut('while the agent is away')
    })
    await mesh.pass(2000)
    await isOut('after all have started again')
    const again = await deny(mesh, 'serial', 'ab')
    t.is(again, 2, 'the CA goes on counting')
    await acknowledged(mesh, again)
    await isOut('and they hear of what is new')
  },
)

test.serial(
  'the CA knows who has acknowledged what, agents and those behind them (users §1.2.29)',
  async (t) => {
    await using mesh = await start()
    const generation = await deny(mesh, 'serial', 'ab')
    t.is(generation, 1)
    await acknowledged(mesh, generation)
    const ca = mesh.ca.current()
    const of = (kind: 'agent' | 'proxy') =>
      ca
        .subscribers()
        .filter((each) => each.kind === kind)
        .map(({ name, generation: bundle, connected }) => [
          name.split('/').at(-1) ?? '',
          bundle,
          connected,
        ])
        .sort(([one = ''], [other = '']) => (one < other ? -1 : 1))
    const bundle = ca.bundle.current.generation
    await mesh.until(() => of('proxy').length === 4, 'the agents to tell of their sidecars')
    t.is(of('agent').length, 4)
    t.deepEqual(of('proxy'), [
      ['', bundle, true],
      ['back', bundle, true],
      ['front', bundle, true],
      ['other', bundle, true],
    ])
    await mesh.kill('front')
    await mesh.until(() => of('proxy').length === 3, 'the sidecar to be gone')
    await mesh.restartAgent('back', async () => {
      await mesh.until(() => of('agent').some(([, , connected]) => !connected), 'it to be missed')
    })
    await mesh.until(() => of('agent').every(([, , connected]) => connected), 'it to come back')
    t.is(of('agent').length, 4, 'it is the same one')
  },
)
