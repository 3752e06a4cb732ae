/** Roots and certificates that change under load: nobody notices. */
import test from 'ava'
import type { RotateStep } from '#ca/index.ts'
import { readCertificate, verifySvid } from '#ca/x509/index.ts'
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
---`

const manifests = `
apiVersion: redoubt.io/v1alpha1
kind: Mesh
metadata: { name: shop }
spec: { trustDomain: shop.example }
---
${workload('front')}
${workload('back')}
apiVersion: v1
kind: Service
metadata: { name: back, namespace: shop }
spec:
  selector: { app: back }
  ports: [{ name: http, port: 80, targetPort: 8080 }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: back, namespace: shop }
spec:
  selector: { matchLabels: { app: back } }
  rules: [{ from: [{ source: { principals: [shop.example/ns/shop/sa/front] } }] }]
`

const rotate = (mesh: Mesh, step: RotateStep) =>
  mesh.ca.current().rotate({ name: 'uid:1000' }, { step, force: false })

/** Until everybody has acknowledged the bundle of now. */
const acknowledged = (mesh: Mesh) =>
  mesh.until(() => {
    const ca = mesh.ca.current()
    const { generation } = ca.bundle.current
    const subscribers = ca.subscribers()
    return subscribers.length >= 6 && subscribers.every((each) => each.generation >= generation)
  }, 'everybody to acknowledge the bundle')

test.serial(
  'users §1.2.21: a whole root rotation, A to A + B to B only, under load without a failed request, the CA away in between',
  async (t) => {
    await using mesh = await startMesh({ manifests, ownTtl: 'PT40S' })
    const front = mesh.workload('front')
    const [before = new Uint8Array()] = mesh.ca.current().bundle.current.roots
    {
      await using load = startLoad(mesh, 4, () => front.call('back', '/'))
      await acknowledged(mesh)
      await rotate(mesh, 'start')
      t.is(mesh.ca.current().bundle.current.roots.length, 2)
      await acknowledged(mesh)

      await mesh.ca.stop() // Between any two steps it may be away, and comes back to the next one.
      await mesh.pass(2000)
      await mesh.ca.start()
      t.is(mesh.ca.current().authorities.book.current.rotation?.phase, 'started')
      await acknowledged(mesh)

      t.is((await rotate(mesh, 'promote')).notYet, undefined)
      const early = await rotate(mesh, 'finish')
      t.is(early.notYet?.code, 'CA_ROTATION_NOT_YET')
      t.true(early.leaves.count > 0)
      const rootOf = (name: string): string => {
        const [, issuing] = mesh.workload(name).proxy.svid.current.chain
        return issuing ? Buffer.from(readCertificate(issuing).issuer).toString('hex') : ''
      }
      const old = Buffer.from(readCertificate(before).subject).toString('hex')
      const renewMs = await mesh.until(
        () => ['front', 'back'].every((name) => rootOf(name) !== old),
        'every certificate to be renewed',
      )
      t.true(renewMs < 4000, `renewed after ${renewMs} ms, not at half a life`)

      for (;;) {
        const { notYet } = await rotate(mesh, 'finish')
        if (!notYet) break
        await mesh.pass(1000)
      }
      const { roots } = mesh.ca.current().bundle.current
      t.is(roots.length, 1)
      t.notDeepEqual(roots[0], before)
      await acknowledged(mesh)
      await mesh.pass(20_000) // more than a life under the new root alone
      t.deepEqual(load.lost.slice(0, 5), [])
      t.true(load.replies.length > 300, `${load.replies.length} requests`)
    }
    const { chain, bundles } = front.proxy.svid.current
    t.is(bundles[0]?.roots.length, 1, 'the sidecar has dropped the old root')
    t.is(verifySvid(chain, bundles, mesh.now(), 'client').kind, 'ok')
    t.deepEqual(mesh.ca.current().health(), { ready: true, reasons: [] })
  },
)

test.serial(
  'users §1.3.34: tainting the issuing CA renews every certificate at once, under load without a failed request',
  async (t) => {
    await using mesh = await startMesh({ manifests, leafTtl: 'PT1H' })
    const front = mesh.workload('front')
    const { authorities } = mesh.ca.current()
    const tainted = authorities.book.current.authorities[1]
    await using load = startLoad(mesh, 2, () => front.call('back', '/'))
    await mesh.ca.current().taint({ name: 'uid:1000' }, tainted?.keyId ?? '')
    const isRenewed = (name: string): boolean =>
      !mesh
        .workload(name)
        .proxy.svid.current.chain.some(
          (der) => Buffer.from(readCertificate(der).ski ?? []).toString('hex') === tainted?.keyId,
        )
    const renewMs = await mesh.until(
      () => isRenewed('front') && isRenewed('back'),
      'every certificate to be renewed',
    )
    t.true(renewMs < 31_000, `renewed after ${renewMs} ms of certificates that live an hour`)
    await mesh.pass(2000)
    t.deepEqual(load.lost, [])
  },
)

test.serial(
  'users §1.1.2: leaves that rotate every 5 s for 10 minutes lose no request',
  async (t) => {
    await using mesh = await startMesh({ manifests, leafTtl: 'PT10S' })
    const front = mesh.workload('front')
    const { svid } = front.proxy
    {
      await using load = startLoad(mesh, 2, () => front.call('back', '/'))
      for (let second = 0; second < 600; second += 20) {
        await mesh.pass(20_000, 1000)
        t.true(Temporal.Instant.compare(mesh.now(), svid.current.notAfter) < 0)
      }
      t.deepEqual(load.lost.slice(0, 5), [])
      t.true(load.replies.length >= 600, `${load.replies.length} requests`)
    }
    const rotations = mesh.rotations.get(front.spiffeId) ?? []
    t.true(rotations.length >= 115, `${rotations.length} rotations in 10 minutes`)
    t.is(new Set(rotations.map(({ serial }) => serial)).size, rotations.length)
  },
)
