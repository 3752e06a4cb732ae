/** Casbin truly decides in a sidecar that runs: with its matchers replaced by `false`, nothing is allowed. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'

import { ask, startMesh, temporary } from './mesh.ts'

const SAMPLE = join(import.meta.dirname, '../../deploy/samples/qotm')

/** Loaded into every process: as `policy/casbin/models.ts` is read, its matchers become `false`. */
const HOOK = `
import { registerHooks } from 'node:module'
registerHooks({
  load(url, context, next) {
    const loaded = next(url, context)
    if (!url.endsWith('/policy/casbin/models.ts')) return loaded
    const source = String(loaded.source)
    const changed = source.replace(/^m = .*$/gm, 'm = false')
    if (changed === source) throw new Error('models.ts has no matcher to replace')
    return { ...loaded, source: changed }
  },
})
`

test('with the Casbin matcher replaced by false, every ALLOW of a running sidecar is a 403', async (t) => {
  await using folder = await temporary()
  const hook = join(folder.path, 'false-matcher.mjs')
  await writeFile(hook, HOOK)
  await using mesh = await startMesh(['-f', SAMPLE, '--state', join(folder.path, 'state')], {
    env: { NODE_OPTIONS: `--import ${pathToFileURL(hook)}`, NODE_DISABLE_COMPILE_CACHE: '1' },
  })
  // Each of these is answered with 200 in test/process/up.test.ts, where the matchers are ours.
  for (const [from, host, path] of [
    ['edge', 'qotm', '/quote'],
    ['qotm-v1', 'quotes-db', '/quotes/random'],
    ['qotm-v2', 'quotes-db', '/quotes/random'],
  ] as const) {
    const { outbound = '' } = mesh.workload(from)
    const { status, body } = await ask(outbound, { path, headers: { host } })
    t.is(status, 403, `${from} to ${host}`)
    t.is(body, 'RBAC: access denied')
  }
  const { admin = '' } = mesh.workload('quotes-db')
  const { decisions } = JSON.parse((await ask(admin, { path: '/decisions' })).body)
  t.true(decisions.length > 0)
})
