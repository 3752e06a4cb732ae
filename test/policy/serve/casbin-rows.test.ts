/** Lines in a database: read here, kept through outages, refused when they are not as they must be. */
import { setImmediate } from 'node:timers/promises'
import test from 'ava'
import { createLive } from '#core/live.ts'
import {
  openCasbinRows,
  readManifests,
  type CasbinRowsDeps,
  type RowsFault,
} from '#policy/index.ts'
import { assembleInbound } from '#policy/index.ts'
import { FakeClock } from '../../fakes/fake-clock.ts'

const MANIFESTS = `
apiVersion: redoubt.io/v1alpha1
kind: CasbinPolicy
metadata: { name: roles, namespace: shop }
spec:
  model:
    inline: |
      [request_definition]
      r = sub, act
      [policy_definition]
      p = sub, act
      [policy_effect]
      e = some(where (p.eft == allow))
      [matchers]
      m = r.sub == p.sub && r.act == p.act
  policy:
    postgres:
      host: db.example
      database: authz
      user: reader
      passwordFrom: { secret: { name: db, key: password } }
      refresh: 5s
---
apiVersion: v1
kind: Secret
metadata: { name: db, namespace: shop }
stringData: { password: correct-horse }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ask, namespace: shop }
spec: { action: CUSTOM, provider: { name: roles }, rules: [{}] }
`

interface Scene {
  readonly clock: FakeClock
  readonly rows: ReturnType<typeof openCasbinRows>
  readonly logged: string[]
  /** What was last told of each policy's reading. */
  readonly faults: Map<string, RowsFault | undefined>
  readonly asked: unknown[]
  answer: readonly (readonly string[])[] | Error
  readonly intent: ReturnType<typeof createLive<ReturnType<typeof intentOf>>>
  readonly end: () => void
}

function intentOf(text: string) {
  const { intent, documents } = readManifests([{ path: 'x.yaml', text }])
  for (const { errors, kind } of documents) {
    if (errors.length > 0) throw new Error(`${kind}: ${JSON.stringify(errors)}`)
  }
  return intent
}

function open(readFile: CasbinRowsDeps['readFile'] = async () => 'from-file\n'): Scene {
  const aborter = new AbortController()
  const clock = new FakeClock()
  const intent = createLive(intentOf(MANIFESTS))
  const scene: Omit<Scene, 'rows'> = {
    clock,
    logged: [],
    faults: new Map(),
    asked: [],
    answer: [['p', 'ann', 'GET']],
    intent,
    end: () => aborter.abort(),
  }
  const rows = openCasbinRows(
    {
      intent: intent.live,
      clock,
      random: () => 0.5,
      log: (level, event, fields) =>
        void scene.logged.push(JSON.stringify({ level, event, ...fields })),
      readFile,
      onReading: (policy, fault) => void scene.faults.set(policy, fault),
      async read(source, credentials) {
        scene.asked.push({ ...source, ...credentials })
        if (scene.answer instanceof Error) throw scene.answer
        return scene.answer
      },
    },
    aborter.signal,
  )
  return Object.assign(scene, { rows })
}

const settle = async () => {
  for (let turns = 0; turns < 5; turns += 1) await setImmediate()
}

const workload = {
  namespace: 'shop',
  name: 'w',
  labels: {},
  serviceAccount: 'w',
  sidecar: true,
  ports: [],
}

test('rows are read with the password of the Secret, and a change of them reaches the bundle', async (t) => {
  const scene = open()
  await settle()
  t.like(scene.asked[0], {
    host: 'db.example',
    user: 'reader',
    password: 'correct-horse',
    tls: 'verify',
  })
  const bundle = () =>
    assembleInbound(scene.intent.live.current, workload, () => undefined, scene.rows.current)
  t.like(bundle().providers['shop/roles'], { kind: 'casbin', lines: [['p', 'ann', 'GET']] })
  t.is(bundle().authorization[0]?.provider, 'shop/roles')
  scene.answer = [['p', 'ben', 'GET']]
  await scene.clock.advance(5_000)
  await settle()
  t.like(bundle().providers['shop/roles'], { lines: [['p', 'ben', 'GET']] })
  scene.end()
})

test('the last good lines stay while the database is away, and while its rows are not as they must be', async (t) => {
  const scene = open()
  await settle()
  for (const answer of [
    new Error('connection refused'),
    [['p', 'ann']],
    [['p', '', 'GET']],
    [['q', 'a', 'b']],
  ]) {
    scene.answer = answer
    await scene.clock.advance(120_000)
    await settle()
    t.deepEqual(scene.rows.current.get('shop/roles'), [['p', 'ann', 'GET']])
    t.like(scene.faults.get('shop/roles'), { policy: 'shop/roles', kept: true })
  }
  t.true(
    scene.logged.some(
      (line) => line.includes('connection refused') && line.includes('"kept":true'),
    ),
  )
  t.true(scene.logged.some((line) => line.includes('row 1: p has 1 columns, expected 2')))
  scene.answer = [['p', 'cleo', 'GET']]
  await scene.clock.advance(120_000)
  await settle()
  t.deepEqual(scene.rows.current.get('shop/roles'), [['p', 'cleo', 'GET']])
  t.is(scene.faults.get('shop/roles'), undefined)
  scene.end()
})

test('before the first reading nobody is there to be asked: what the policy matches is denied', async (t) => {
  const scene = open()
  scene.answer = new Error('away')
  const none = assembleInbound(scene.intent.live.current, workload)
  t.deepEqual(none.providers, {})
  await settle()
  scene.end()
})

test('no password is in a log, a message or a bundle', async (t) => {
  const scene = open(async () => {
    throw new Error('ENOENT')
  })
  await settle()
  const bundle = assembleInbound(
    scene.intent.live.current,
    workload,
    () => undefined,
    scene.rows.current,
  )
  scene.answer = new Error('password authentication failed for user "reader"')
  await scene.clock.advance(60_000)
  await settle()
  const all = JSON.stringify([scene.logged, bundle])
  t.false(all.includes('correct-horse'))
  t.true(all.includes('authentication failed'))
  scene.end()
})

test('another place begins anew: lines of the old one are not taken for its own', async (t) => {
  const scene = open()
  await settle()
  scene.answer = new Error('not there yet')
  scene.intent.set(intentOf(MANIFESTS.replace('db.example', 'other.example')))
  await settle()
  t.is(scene.rows.current.get('shop/roles'), undefined)
  scene.intent.set(
    intentOf(MANIFESTS.replace('secret: { name: db, key: password }', 'file: /run/p')),
  )
  scene.answer = [['p', 'ann', 'GET']]
  await settle()
  t.like(scene.asked.at(-1), { password: 'from-file' })
  scene.end()
})
