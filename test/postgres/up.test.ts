/** `redoubt up` with two CAs on one PostgreSQL: either may be killed, and nobody is without. */
import { cp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { join } from 'node:path'

import test from 'ava'

import type { MeshStatus } from '#deploy/standalone/status.ts'
import { freePorts } from '../scenario/free-ports.ts'
import { startMesh, startRedoubt, temporary, until } from '../process/mesh.ts'
import { SAMPLE, startCallers } from '../process/rotation-run.ts'
import { newDatabase } from './database.ts'

const run = process.env['REDOUBT_TEST_POSTGRES'] === undefined ? test.skip : test.serial

/** The sample, with as many CAs on a database. @param endpoint - Where the bundle is served. */
async function manifests(folder: string, replicas: number, endpoint?: string) {
  const shared = await newDatabase()
  const sample = join(folder, 'qotm')
  await cp(SAMPLE, sample, { recursive: true })
  const file = join(sample, 'mesh.yaml')
  const passphrase = 'a passphrase of the ledger'
  await writeFile(join(folder, 'passphrase'), `${passphrase}\n`, { mode: 0o600 })
  const { url, password, caFile } = shared.ledger
  const text = (await readFile(file, 'utf8')).replace(
    'leafTtl: 16s',
    `leafTtl: 12s
  certificateAuthority:
    replicas: ${replicas}
    ledger:
      store: postgres
      url: ${url}
      password: { file: ${password.file} }
      passphrase: { file: ${join(folder, 'passphrase')} }
      caFile: ${caFile}`,
  )
  const served = endpoint && `federation: { endpoint: { listen: '${endpoint}' } }\n  accessLogFile:`
  await writeFile(file, served ? text.replace('accessLogFile:', served) : text)
  // How long a try may take is about the machine that the test has, not about its CAs.
  const services = join(sample, 'services.yaml')
  const routes = await readFile(services, 'utf8')
  await writeFile(
    services,
    routes.replace('perTryTimeout: 1s, ', '').replaceAll('timeout: 5s', 'timeout: 9s'),
  )
  return {
    ...{ shared, sample },
    secrets: [passphrase, shared.password],
    [Symbol.asyncDispose]: () => shared[Symbol.asyncDispose](),
  }
}

/** The status of the bundle endpoint; who it is says its own test. */
function askBundle(port: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, agent: false, rejectUnauthorized: false } as const
    request(options, (response) => resolve(response.resume().statusCode))
      .on('error', reject)
      .end()
  })
}

interface CaView {
  readonly ready: boolean
  readonly replicas: readonly { address: string; alive: boolean; self: boolean }[]
  readonly rotation: { phase: string } | null
}

run(
  'users §1.2.20: kill -9 of either of two CAs of redoubt up loses no request, no certificate and no step of a rotation',
  async (t) => {
    await using folder = await temporary()
    const [port = 0] = await freePorts(1)
    await using given = await manifests(folder.path, 2, `127.0.0.1:${port}`)
    const state = join(folder.path, 'state')
    await using mesh = await startMesh(['-f', given.sample, '--state', state])
    t.is(await askBundle(port), 200)
    const { ca } = mesh.ready
    t.is(ca.replicas.length, 2)
    t.is(ca.replicas[0]?.address, ca.address)
    t.not(ca.replicas[1]?.address, ca.address)

    const redoubt = async (...args: readonly string[]) => {
      const { exited, out, err } = startRedoubt([...args, '--state', state, '--output', 'json'])
      return { code: await exited, out: out.join('\n'), err: err() }
    }
    const view = async (): Promise<CaView> => JSON.parse((await redoubt('ca', 'status')).out)
    const kill = async (name: string): Promise<void> => {
      const { processes } = JSON.parse((await redoubt('status')).out) as MeshStatus
      const pid = processes.find((one) => one.name === name)?.pid
      if (pid === undefined) throw new Error(`${name} does not run`)
      process.kill(pid, 'SIGKILL')
    }
    const again = (name: string, from: number) =>
      mesh.event(({ event, detail }) => event === 'restarted' && detail.includes(`${name} runs`), {
        from,
      })
    const addresses = ca.replicas.map(({ address }) => address).toSorted()
    const there = ({ replicas }: CaView) =>
      replicas.flatMap(({ address, alive }) => (alive ? [address] : [])).toSorted()
    t.deepEqual(there(await view()), addresses)

    const load = startCallers(1, mesh.workload('edge').outbound ?? '')
    // The CA that has the agent is away for longer than any certificate lives.
    const [place, aside] = [join(state, 'ca'), join(state, 'ca-aside')]
    await rename(place, aside)
    await writeFile(place, 'no directory')
    const gone = mesh.events().length
    await kill('ca')
    for (const workload of ['qotm/edge', 'qotm/qotm-v1']) {
      const rotations = () =>
        mesh
          .events()
          .slice(gone)
          .filter((one) => one.event === 'rotated' && one.workload === workload)
      await until(() => (rotations().length >= 3 ? true : undefined))
    }
    t.true((await view()).ready)
    t.is(await askBundle(port), 200, 'the bundle is served by the other')
    t.is((await view()).replicas.find(({ self }) => self)?.address, ca.replicas[1]?.address)
    await rm(place)
    await rename(aside, place)
    await again('ca', gone)

    // Each step is asked for right after a CA was killed: first the one that has the agent.
    for (const [name, step] of [
      ['ca', 'start'],
      ['ca-2', 'promote'],
      ['ca', 'finish'],
    ] as const) {
      const from = mesh.events().length
      await kill(name)
      const asked = await redoubt('ca', 'rotate', step, '--wait', '60s')
      t.is(asked.code, 0, `${step}: ${asked.out}${asked.err}`)
      await again(name, from)
      const at = mesh.events().length
      await Promise.all(
        ['edge', 'qotm-v1'].map((workload) =>
          mesh.event((one) => one.event === 'rotated' && one.workload === `qotm/${workload}`, {
            from: at,
          }),
        ),
      )
    }
    const { answered, lost } = await load.end()
    t.deepEqual(lost, [])
    t.true(answered > 100, `${answered} requests`)
    t.log(`${answered} requests, none lost`)

    const last = await until(async () => {
      const now = await view()
      return there(now).length === 2 ? now : undefined
    })
    t.deepEqual(there(last), addresses, 'each came back where it was')
    t.is(last.rotation, null)
    t.is((await redoubt('ca', 'log', 'verify')).code, 0)
    const issued = await redoubt(
      ...['ca', 'issue', '--id', 'spiffe://cluster.local/ns/qotm/sa/edge', '--ttl', '1m'],
      ...['--out', join(folder.path, 'issued')],
    )
    t.is(issued.code, 0, issued.err)
    const books = await given.shared.query('SELECT version FROM authority_books ORDER BY version')
    const versions = books.map(({ version }) => Number(version))
    t.deepEqual(
      versions,
      versions.map((_, at) => (versions[0] ?? 0) + at),
      'each step is there once',
    )
    const logs = join(state, 'logs')
    const told = await Promise.all(
      (await readdir(logs)).map((name) => readFile(join(logs, name), 'utf8')),
    )
    told.push(await readFile(join(state, 'mesh.json'), 'utf8'), ...mesh.out, mesh.err())
    for (const secret of given.secrets) t.false(told.join('\n').includes(secret))
  },
)
