import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'

import { openCa } from '#ca/index.ts'
import { parseTrustDomain } from '#ca/spiffe/index.ts'
import { derFromPem, readCertificate } from '#ca/x509/index.ts'
import { configIn, realClock } from '#test/ca/harness.ts'
import { ask, startMesh, startRedoubt, temporary, until } from './mesh.ts'
import { rotateUnderLoad, SAMPLE } from './rotation-run.ts'

test('users §1.2.20: redoubt ca rotate start, promote, finish change the root of a running mesh and lose no request', async (t) => {
  // Half of a life is time enough to renew, on a machine with ten times its work.
  const run = await rotateUnderLoad({ leafTtl: '20s', callers: 3, seconds: 1 })
  t.deepEqual(
    run.commands.map(([step, code]) => [step, code]),
    [
      ['start', 0],
      ['promote', 0],
      ['finish', 0],
    ],
    JSON.stringify(run.commands),
  )
  t.deepEqual(run.lost, [])
  t.true(run.answered > 50, `${run.answered} requests`)
  t.log(`${run.answered} requests, none lost`)
  const [before, after] = run.bundles
  t.not(before, after)
  t.is(after.match(/BEGIN CERTIFICATE/g)?.length, 1)
  const states = run.commands.map(([, , out]) =>
    JSON.parse(out).status.authorities.map(
      ({ kind, state }: Record<string, string>) => `${kind} ${state}`,
    ),
  )
  t.deepEqual(states, [
    ['root active', 'issuing active', 'root prepared', 'issuing prepared'],
    ['root old', 'issuing old', 'root active', 'issuing active'],
    ['root revoked', 'issuing revoked', 'root active', 'issuing active'],
  ])
})

test('users §1.2.26: a mesh whose CA has expired says what to do, and ca rotate --force brings it back', async (t) => {
  await using folder = await temporary()
  const state = join(folder.path, 'state')
  const longAgo = Temporal.Now.instant().subtract({ hours: 24 * 365 * 2 })
  const expired = await openCa(
    configIn(join(state, 'ca'), { trustDomain: parseTrustDomain('cluster.local') }),
    { now: () => longAgo, clock: realClock, log: () => undefined },
  )
  await expired[Symbol.asyncDispose]()
  const run = async (...args: readonly string[]) => {
    const { exited, out, err } = startRedoubt([...args, '--state', state])
    return { code: await exited, out: out.join('\n'), err: err() }
  }

  const refused = await run('up', '-f', SAMPLE)
  t.is(refused.code, 2)
  t.regex(
    refused.err,
    /^redoubt: Cannot start the mesh: its CA signs nothing: the root ended at \S+; redoubt ca rotate start --force,/,
  )
  for (const [step, told] of [
    ['start', /next: redoubt ca rotate promote/],
    ['promote', /next: redoubt ca rotate finish/],
    ['finish', /no rotation is under way/],
  ] as const) {
    const { code, out, err } = await run('ca', 'rotate', step, '--force')
    t.is(code, 0, err)
    t.regex(out, told)
  }
  t.regex((await run('ca', 'rotate', 'finish', '--force')).err, /none is under way$/m)
  await using mesh = await startMesh(['-f', SAMPLE, '--state', state])
  t.deepEqual(mesh.ready.notReady, [])
  const { out } = await run('ca', 'status', '--output', 'json')
  const { ready, authorities } = JSON.parse(out)
  t.true(ready)
  t.deepEqual(
    authorities.map((each: { state: string }) => each.state),
    ['active', 'active'],
    'what ended long ago is not shown',
  )
})

/** Long enough for a slow machine to start a mesh, and short enough to wait for. */
const ROOT_SECONDS = 45

test('users §1.2.26: a mesh that runs until its root and everything below has ended comes back by ca rotate --force, and nobody restarts it', async (t) => {
  await using folder = await temporary()
  const [sample, state] = [join(folder.path, 'qotm'), join(folder.path, 'state')]
  await cp(SAMPLE, sample, { recursive: true })
  const manifest = join(sample, 'mesh.yaml')
  const lives = `leafTtl: 5s\n    maxLeafTtl: 5s\n    caTtl: ${ROOT_SECONDS}s\n    rootTtl: ${ROOT_SECONDS}s`
  const text = await readFile(manifest, 'utf8')
  await writeFile(manifest, text.replace('leafTtl: 16s', lives))
  await using mesh = await startMesh(['-f', sample, '--state', state])
  const outbound = mesh.workload('edge').outbound ?? ''
  const quote = () =>
    ask(outbound, { path: '/quote', headers: { host: 'qotm' } }).then(
      ({ status }) => status,
      () => 0,
    )
  const redoubt = async (...args: readonly string[]) => {
    const { exited, out, err } = startRedoubt([...args, '--state', state])
    return { code: await exited, out: out.join('\n'), err: err() }
  }
  const health = async () => (await ask(mesh.ready.ca.metrics, { path: '/ready' })).body
  await until(async () => ((await quote()) === 200 ? true : undefined))
  const before = await readFile(mesh.ready.ca.bundle, 'utf8')

  const [root] = derFromPem('CERTIFICATE', before)
  const { notAfter } = readCertificate(root ?? new Uint8Array())
  const hasEnded = () => Temporal.Instant.compare(Temporal.Now.instant(), notAfter) > 0
  await until(() => (hasEnded() ? true : undefined))
  await until(async () => ((await quote()) === 200 ? undefined : true))
  const why = /nothing is signed: the root ended at \S+ \(redoubt ca rotate start --force\)/
  t.regex(await health(), why)
  t.regex((await redoubt('ca', 'rotate', 'start')).err, why)
  for (const step of ['start', 'promote', 'finish']) {
    const { code, out, err } = await redoubt('ca', 'rotate', step, '--force')
    t.is(code, 0, err)
    t.regex(out, /done by force, in the mesh that runs/)
  }
  await until(async () => ((await quote()) === 200 ? true : undefined))
  t.notRegex(await health(), /nothing is signed/)
  const after = await readFile(mesh.ready.ca.bundle, 'utf8')
  t.is(after.match(/BEGIN CERTIFICATE/g)?.length, 1)
  t.not(after, before)
  // It may not answer in a command's time while everybody renews at once on a machine that is busy.
  await until(async () => ((await redoubt('ca', 'status')).code === 0 ? true : undefined))
  const ended = mesh.events().flatMap(({ event, facts }) => (event === 'exited' ? [facts] : []))
  t.deepEqual(
    ended.map((facts) => facts?.['process']),
    ['agent'],
    'which begins anew with the new root; no app, no sidecar, not the CA',
  )
})
