/** Two CA processes on one PostgreSQL, either of them killed at any moment; a real agent and clients that go on. */
import { randomBytes } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import test from 'ava'

import { openSvid } from '#agent/client/index.ts'
import { openAgent } from '#agent/index.ts'
import type { Ca } from '#ca/index.ts'
import { derFromPem, readCertificate } from '#ca/x509/index.ts'
import {
  agentId,
  Client,
  newCsr,
  newKey,
  realClock,
  sha256,
  trustDomain,
  workloadId,
} from '../ca/harness.ts'
import { startCaProcess, type CaProcess } from '../process/ca.ts'
import { temporary, until } from '../process/mesh.ts'
import { newDatabase } from './database.ts'

const run = process.env['REDOUBT_TEST_POSTGRES'] === undefined ? test.skip : test.serial
const now = () => Temporal.Now.instant()
const roots = ({ roots: pem }: CaProcess) => derFromPem('CERTIFICATE', pem)

async function addToken(ca: CaProcess): Promise<string> {
  const token = randomBytes(32).toString('hex')
  const expiresAt = String(now().add({ minutes: 5 }))
  const scope = ['spiffe://prod.example/ns/pay/*']
  await ca.call('add-join-token', { tokenSha256: sha256(token), agentId, scope, expiresAt })
  return token
}

const PASSPHRASE = 'a passphrase of the ledger'

/** A database, and a folder for the CAs that share it. */
async function newSite() {
  const stack = new AsyncDisposableStack()
  const shared = stack.use(await newDatabase())
  const dir = stack.use(await temporary())
  const file = join(dir.path, 'passphrase')
  await writeFile(file, `${PASSPHRASE}\n`, { mode: 0o600 })
  const ledger = { ...shared.ledger, passphrase: { file } }
  return {
    shared,
    dir,
    start: (name: string, change: object = {}) =>
      startCaProcess(join(dir.path, name), { ledger, ...change }),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

run(
  'kill -9 of either CA at any moment: nothing is issued twice, no step is lost, clients move over by themselves',
  async (t) => {
    await using site = await newSite()
    const { shared, dir } = site
    // An issuing CA lives 60 s: several are prepared and used while CAs are killed.
    const lives = { leafTtl: 'PT10S', maxLeafTtl: 'PT10S', caTtl: 'PT60S', rootTtl: 'P30D' }
    const start = (name: string, listen = '127.0.0.1:0') => site.start(name, { ...lives, listen })
    const running = { one: await start('one'), two: await start('two') }
    const ended = new AbortController()
    t.teardown(() => {
      ended.abort()
      for (const { child } of Object.values(running)) child.kill('SIGKILL')
    })
    const caAddress = `${running.one.address},${running.two.address}`
    t.is(running.one.roots, running.two.roots)

    const deps = { clock: realClock, now, random: Math.random, log: () => {} }
    await using agent = await openAgent(
      {
        trustDomain,
        agentId,
        caAddress,
        socketPath: join(dir.path, 'agent.sock'),
        joinToken: await addToken(running.one),
      },
      { ...deps, caRoots: roots(running.one), identify: async () => workloadId },
    )
    const svid = await openSvid({ socketPath: agent.socketPath, ...deps }, ended.signal)
    const served: string[] = []
    const expired: string[] = []
    const watching = (async () => {
      while (!ended.signal.aborted) {
        const { serial, notAfter } = svid.current
        if (served.at(-1) !== serial) served.push(serial)
        if (Temporal.Instant.compare(now(), notAfter) > 0) expired.push(serial)
        await sleep(20)
      }
    })()

    // A client of its own, with both addresses, that asks as fast as it is answered.
    const key = newKey()
    const token = await addToken(running.one)
    using stranger = new Client({
      address: running.one.address,
      bundle: { current: { roots: roots(running.one) } },
    } as unknown as Ca)
    const { svid: own } = await stranger.attest(token, newCsr(key))
    if (!own) throw new Error('the CA sent no SVID')
    const held: string[] = []
    let failures = 0
    const csr = newCsr()
    const bundle = { current: { roots: roots(running.one) } }
    let identity = { svid: own, key }
    const asking = async (worker: number): Promise<void> => {
      let client = new Client({ address: `ipv4:${caAddress}`, bundle } as unknown as Ca, identity)
      for (let turn = 0; !ended.signal.aborted; turn += 1) {
        const spiffeId = `spiffe://prod.example/ns/pay/sa/w${worker}-${turn}`
        try {
          const renewal = worker === 0 ? [{ spiffeId: agentId, csr: newCsr(key) }] : []
          const { results } = await client.issue({ spiffeId, csr }, ...renewal)
          for (const { outcome } of results) {
            if (outcome?.$case !== 'svid') continue
            const [leaf] = outcome.svid.chain
            if (leaf) held.push(readCertificate(leaf).serial)
            if (outcome.svid.spiffeId === agentId) identity = { svid: outcome.svid, key }
          }
          await sleep(10)
        } catch {
          failures += 1
          await sleep(50)
        }
        if (turn % 50 === 49) {
          client[Symbol.dispose]()
          client = new Client({ address: `ipv4:${caAddress}`, bundle } as unknown as Ca, identity)
        }
      }
      client[Symbol.dispose]()
    }
    const askers = Promise.all([0, 1, 2, 3].map(asking))

    for (let round = 0; round < 6; round += 1) {
      await sleep(2500 + Math.random() * 1500)
      const name = round % 2 === 0 ? 'one' : 'two'
      const before = held.length
      await running[name].end('SIGKILL')
      await until(() => (held.length > before + 5 ? true : undefined))
      running[name] = await start(name, running[name].address)
    }
    await until(() => (served.length >= 4 ? true : undefined))
    // Half of an issuing CA's life after its beginning the next one is there.
    const versions = async (): Promise<readonly number[]> => {
      const books = await shared.query('SELECT version FROM authority_books ORDER BY version')
      return books.map(({ version }) => Number(version))
    }
    await until(async () => ((await versions()).length >= 2 ? true : undefined))
    ended.abort()
    await askers
    await watching

    t.deepEqual(expired, [], 'the agent never had only an expired certificate')
    t.true(held.length > 200, `${held.length} certificates, ${failures} calls that failed`)
    t.is(new Set(held).size, held.length, 'no serial was given twice')
    const rows = await shared.query('SELECT serial, kind FROM certificates')
    const recorded = new Set(rows.map(({ serial }) => serial as string))
    t.is(recorded.size, rows.length)
    t.deepEqual(
      held.filter((serial) => !recorded.has(serial)),
      [],
      'whatever a client holds is in the ledger',
    )
    t.like(await running.one.call('log-audit'), { ok: true, faultCount: 0 })
    const [one, two] = [await running.one.call('log-head'), await running.two.call('log-head')]
    t.is((one as { keyId: string }).keyId, (two as { keyId: string }).keyId)
    const seen = await versions()
    t.true(seen.length >= 2, 'keys were prepared and used meanwhile')
    t.deepEqual(
      seen,
      seen.map((_, at) => (seen[0] ?? 0) + at),
      'each step is there once',
    )
    for (const ca of Object.values(running)) await ca.end('SIGTERM')
  },
)

run(
  'a CA that is stopped in the middle holds the others up for seconds, not for ever',
  async (t) => {
    await using site = await newSite()
    const one = await site.start('one')
    const two = await site.start('two')
    const adding = Promise.allSettled(Array.from({ length: 40 }, () => addToken(one)))
    one.child.kill('SIGSTOP')
    const startMs = performance.now()
    await addToken(two)
    t.true(performance.now() - startMs < 14_000)
    one.child.kill('SIGCONT')
    await adding
    t.like(await two.call('log-audit'), { ok: true })
    await one.end('SIGTERM')
    await two.end('SIGTERM')
  },
)

run(
  'an agent leaves a CA that says nothing any more, and is where it hears of revocations again',
  async (t) => {
    await using site = await newSite()
    const { shared, dir } = site
    const one = await site.start('one')
    const two = await site.start('two')
    t.teardown(() => [one, two].map(({ child }) => child.kill('SIGKILL')))
    const deps = { clock: realClock, now, random: Math.random, log: () => {} }
    await using agent = await openAgent(
      {
        ...{ trustDomain, agentId, caAddress: `${one.address},${two.address}` },
        ...{ socketPath: join(dir.path, 'agent.sock'), joinToken: await addToken(one) },
      },
      { ...deps, caRoots: roots(one), identify: async () => workloadId },
    )
    t.is(agent.health().ready, true)
    const where = async () => {
      const rows = await shared.query(
        'SELECT address FROM subscribers JOIN replicas ON id = replica WHERE connected = 1',
      )
      return rows.map(({ address }) => address)
    }
    await until(async () => ((await where())[0] === one.address ? true : undefined))
    one.child.kill('SIGSTOP')
    await until(async () => ((await where())[0] === two.address ? true : undefined))
    t.deepEqual(await where(), [two.address], 'it is counted once')
  },
)

run(
  'no password is in an argument, in the environment that a CA was given, or in its log',
  async (t) => {
    await using site = await newSite()
    const { shared, dir } = site
    const ca = await site.start('one')
    const given = [
      await readFile(`/proc/${ca.child.pid}/cmdline`, 'utf8'),
      await readFile(`/proc/${ca.child.pid}/environ`, 'utf8'),
    ]
    await ca.end('SIGTERM') // what it logs is on the disk then
    const told = [
      ...given,
      ...(await Promise.all(
        (
          await readdir(dir.path)
        )
          .filter((name) => name.endsWith('.log'))
          .map((name) => readFile(join(dir.path, name), 'utf8')),
      )),
    ].join('\n')
    t.regex(told, /process-ready/)
    for (const secret of [shared.password, PASSPHRASE]) t.false(told.includes(secret))
  },
)
