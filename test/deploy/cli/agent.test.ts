/** `redoubt agent` against a real CA: on a machine with a certificate of its own, or with a token. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'

import { openSvid } from '#agent/client/index.ts'
import { OID, parseDenyEntry, pemFromDer } from '#ca/x509/index.ts'
import { agent } from '#deploy/cli/commands/agent.ts'
import type { Clock } from '#core/clock.ts'
import { LOOK_MS } from '#deploy/standalone/remote-agent.ts'
import { systemClock, systemNow } from '#deploy/run/system-clock.ts'
import { newToken, type RunningCa, startCa, temporaryDir, workloadId } from '#test/ca/harness.ts'
import { ext, forgeIssuing, forgeLeaf, forgeRoot } from '#test/ca/x509/forge.ts'
import { runCommand } from '#test/fakes/fake-io.ts'

const uid = process.getuid?.() ?? 0
const today = Temporal.Now.instant()
const good = { notBefore: today.subtract({ hours: 1 }), notAfter: today.add({ hours: 1 }) }
const noUri = { san: undefined }
const root = forgeRoot({ ...good, extensions: noUri })
const middle = forgeIssuing(root, { ...good, extensions: noUri })
const machine = forgeLeaf(middle, {
  ...good,
  extensions: { san: ext.san([[2, 'db-1.nodes.example']], false), eku: ext.eku(OID.clientAuth) },
})
const machineId = 'spiffe://prod.example/machine/db-1.nodes.example'
const certificates = [
  {
    roots: [root.der],
    name: '*.nodes.example',
    agentId: 'spiffe://prod.example/machine/{name}',
    scope: ['spiffe://prod.example/ns/pay/*'],
  },
]

/** Time as it is, but for the look for another token. */
const impatient: Clock = {
  ...systemClock,
  sleep: (ms, signal) => systemClock.sleep(ms === LOOK_MS ? 50 : ms, signal),
}

/** Runs the command until `use` is done with it; what it printed by then. */
async function withAgent(
  { ca }: RunningCa,
  dir: string,
  options: Readonly<Record<string, unknown>>,
  use: (out: readonly Record<string, unknown>[], socket: string) => Promise<void>,
): Promise<void> {
  await writeFile(join(dir, 'bundle.pem'), pemFromDer('CERTIFICATE', ca.bundle.current.roots))
  const out: Record<string, unknown>[] = []
  const ending = new AbortController()
  const ready = Promise.withResolvers<void>()
  const running = runCommand(
    {
      ...agent,
      run: (io, input) =>
        agent.run(
          {
            ...io,
            out(line) {
              out.push(JSON.parse(line) as Record<string, unknown>)
              ready.resolve()
            },
          },
          input,
          ending.signal,
        ),
    },
    {
      cwd: dir,
      clock: impatient,
      options: {
        ca: ca.address,
        trustBundle: 'bundle.pem',
        socket: 'agent.sock',
        user: [`${uid}=${workloadId}`],
        metrics: '127.0.0.1:0',
        output: 'json',
        ...options,
      },
    },
  )
  await Promise.race([ready.promise, running])
  await use(out, join(dir, 'agent.sock'))
  ending.abort()
  await running
}

async function until(holds: () => boolean): Promise<void> {
  for (const signal = AbortSignal.timeout(20_000); !holds(); ) await systemClock.sleep(20, signal)
}

const client = { clock: systemClock, now: systemNow, random: Math.random, log: () => {} }

test('redoubt agent proves its machine by a certificate that it has, and serves the users that it was told of', async (t) => {
  await using running = await startCa({ attestation: { certificates } })
  await using dir = await temporaryDir()
  const pem = pemFromDer('CERTIFICATE', [machine.der, middle.der])
  await writeFile(join(dir.path, 'cert.pem'), pem)
  const key = machine.key.export({ type: 'pkcs8', format: 'pem' })
  await writeFile(join(dir.path, 'key.pem'), key)
  const options = { id: machineId, x509: 'cert.pem', key: 'key.pem' }
  await withAgent(running, dir.path, options, async (out, socketPath) => {
    t.like(out[0], { ready: true, agentId: machineId, socket: socketPath })
    const ending = new AbortController()
    const svid = await openSvid({ ...client, socketPath }, ending.signal)
    ending.abort()
    t.is(svid.current.id, workloadId)
    t.like(out[1], { event: 'rotated', spiffeId: workloadId, serial: svid.current.serial })
    t.is((await fetch(`http://${out[0]?.['metrics']}/ready`)).status, 200)
  })
})

test('redoubt agent is let in by a join token, and by the next one that is put into its file', async (t) => {
  await using running = await startCa()
  await using dir = await temporaryDir()
  const file = join(dir.path, 'token')
  await writeFile(file, `${await newToken(running.ca)}\n`)
  const id = 'spiffe://prod.example/ns/redoubt-system/sa/redoubt-agent'
  await withAgent(running, dir.path, { id, joinTokenFile: 'token' }, async (out) => {
    t.like(out[0], { ready: true, agentId: id })
    await until(() => running.ca.subscribers().length === 1)
    const serial = String(
      running.log.find(({ event }) => event === 'agent-attested')?.fields['serial'],
    )
    const until_ = Temporal.Now.instant().add({ hours: 1 })
    const call = { at: 0, caller: 'admin', action: 'revoke', detail: serial, outcome: 'done' }
    const entry = parseDenyEntry({ kind: 'serial', value: serial, until: until_ })
    await running.ca.denials.deny([entry], call)
    await until(() => out.some(({ event }) => event === 'unattested'))
    t.regex(
      String(out.at(-1)?.['detail']),
      /its certificate was revoked .* attest again with a join/,
    )
    await writeFile(file, await newToken(running.ca))
    await until(() => out.at(-1)?.['event'] === 'attested')
  })
  t.false(JSON.stringify(running.log).includes('BEGIN'))
})

for (const [what, change, message] of [
  ['neither kind of proof', {}, /expected either --x509 and --key, or --join-token-file$/],
  ['both', { x509: 'a', key: 'b', joinTokenFile: 'c' }, /expected either --x509 and --key/],
  ['a certificate without its key', { x509: 'a' }, /expected either --x509 and --key/],
  ['a user that is none', { joinTokenFile: 'c', user: ['postgres=x'] }, /expected UID=SPIFFE_ID$/],
  ['no bundle', { trustBundle: 'none' }, /the trust bundle \S+ cannot be read \(ENOENT\)$/],
  [
    'no token',
    { joinTokenFile: 'none' },
    /Cannot read the join token in \S+: there is no such file/,
  ],
] as const) {
  test(`redoubt agent refuses ${what} in one line`, async (t) => {
    await using dir = await temporaryDir()
    await writeFile(join(dir.path, 'bundle.pem'), pemFromDer('CERTIFICATE', root.der))
    const options = {
      ca: '127.0.0.1:1',
      trustBundle: 'bundle.pem',
      id: machineId,
      socket: 'agent.sock',
      user: [],
      metrics: '127.0.0.1:0',
      ...change,
    }
    await t.throwsAsync(runCommand(agent, { cwd: dir.path, options }), { message })
  })
}
