/** Our definitions in a real API server: it takes them, and every manifest that Istio calls valid. */
import { execFile } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { promisify } from 'node:util'
import test from 'ava'
import { type Manifest, VERDICTS } from '#test/policy/dialects/rows.ts'

const kubeconfig = process.env['REDOUBT_KUBECONFIG']
const program = process.env['REDOUBT_KUBECTL']
const CONFORMANCE = '../shared/conformance/istio-validation.jsonl'

async function kubectl(...args: readonly string[]): Promise<string> {
  const env = { ...process.env, KUBECONFIG: kubeconfig ?? '' }
  const { stdout } = await promisify(execFile)(program ?? '', args, { env, maxBuffer: 2 ** 26 })
  return stdout
}

/** Resolves when the API server serves every definition: of one that it has just taken `kubectl wait` may not yet find a status. */
async function established(attempts = 10): Promise<void> {
  try {
    await kubectl('wait', '--for=condition=Established', '--timeout=60s', 'crd', '--all')
  } catch (cause) {
    if (attempts === 1) throw cause
    await setTimeout(1000)
    await established(attempts - 1)
  }
}

/** What `kubectl` says went wrong with `manifests`, tried and not kept. */
async function refusals(manifests: readonly Manifest[]): Promise<readonly string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'redoubt-crds-'))
  try {
    const file = join(folder, 'list.json')
    const items = manifests.map((one, at) => ({
      ...one,
      metadata: { ...(one['metadata'] as object), name: `x${at}`, namespace: 'default' },
    }))
    await writeFile(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items }))
    await kubectl('create', '--dry-run=server', '--validate=ignore', '-f', file)
    return []
  } catch (cause) {
    const { stderr = '' } = cause as { stderr?: string }
    return stderr.split('\n').filter((line) => line !== '' && !line.startsWith('Warning'))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

const TITLE = 'a real API server takes every definition, and every manifest that is valid'

if (!kubeconfig || !program) {
  const why = process.env['REDOUBT_KUBERNETES_MISSING'] ?? 'use npm run test:kubernetes'
  test.skip(`${TITLE} (SKIPPED: ${why})`, (t) => t.fail())
} else
  test.serial(TITLE, async (t) => {
    const files = globSync('deploy/schemas/crds/*.yaml')
    await kubectl('apply', '--server-side', ...files.flatMap((file) => ['-f', file]))
    await established()
    const { items } = JSON.parse(await kubectl('get', 'crd', '-o', 'json')) as {
      items: readonly {
        readonly metadata: { readonly name: string }
        readonly status: { readonly conditions: readonly { type: string; status: string }[] }
      }[]
    }
    t.is(items.length, files.length)
    for (const { metadata, status } of items) {
      t.false(
        status.conditions.some(({ type }) => type === 'NonStructuralSchema'),
        metadata.name,
      )
    }

    const rows = Object.values(VERDICTS)
    const valid = rows.flatMap(({ accepted = [], warned = [] }) => [...accepted, ...warned])
    if (existsSync(CONFORMANCE)) valid.push(...validOfIstio())
    for (let at = 0; at < valid.length; at += 60) {
      t.deepEqual(await refusals(valid.slice(at, at + 60)), [])
    }
    t.log(`${files.length} definitions, ${valid.length} manifests`)
    const mistyped = { ...valid[0], spec: { rules: 'all' } }
    t.is((await refusals([mistyped])).length, 1, 'a wrong type is refused')
  })

function validOfIstio(): readonly Manifest[] {
  return readFileSync(CONFORMANCE, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { manifest: Manifest; valid: boolean })
    .filter(
      ({ manifest, valid }) => valid && !/EnvoyFilter|Wasm|Traffic/.test(`${manifest['kind']}`),
    )
    .map(({ manifest }) => manifest)
}
