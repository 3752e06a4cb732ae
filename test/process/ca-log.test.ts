/** The log of a CA that is killed, and of one that runs in a mesh. */
import { execFile } from 'node:child_process'
import { createPublicKey, randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

import test from 'ava'

import { type Ca, openLogState } from '#ca/index.ts'
import { inclusionFault } from '#ca/log/index.ts'
import { derFromPem, readCertificate } from '#ca/x509/index.ts'
import { agentId, Client, newCsr, newKey, sha256 } from '#test/ca/harness.ts'
import { type CaProcess, startCaProcess } from './ca.ts'
import { LAUNCHER, startMesh, startRedoubt, temporary } from './mesh.ts'

/** As much of a CA as the harness's clients look at. */
function asCa({ address, roots }: CaProcess): Ca {
  return { address, bundle: { current: { roots: derFromPem('CERTIFICATE', roots) } } } as Ca
}

/** Issues from as many clients as there are until the CA is gone; every certificate that came. */
async function burst(ca: CaProcess, killAfter: number): Promise<readonly Uint8Array[]> {
  const key = newKey()
  const token = randomBytes(32).toString('hex')
  const expiresAt = String(Temporal.Now.instant().add({ minutes: 5 }))
  const scope = ['spiffe://prod.example/ns/pay/*']
  await ca.call('add-join-token', { tokenSha256: sha256(token), agentId, scope, expiresAt })
  using stranger = new Client(asCa(ca))
  const { svid } = await stranger.attest(token, newCsr(key))
  if (!svid) throw new Error('the CA sent no SVID')
  using client = new Client(asCa(ca), { svid, key })
  const held: Uint8Array[] = svid.chain.slice(0, 1)
  const csr = newCsr()
  const one = async (worker: number): Promise<void> => {
    for (let turn = 0; ; turn += 1) {
      const spiffeId = `spiffe://prod.example/ns/pay/sa/w${worker}-${turn}`
      const { results } = await client.issue({ spiffeId, csr }, { spiffeId, csr })
      for (const { outcome } of results) {
        if (outcome?.$case === 'svid') held.push(...outcome.svid.chain.slice(0, 1))
      }
      if (held.length >= killAfter) ca.child.kill('SIGKILL')
    }
  }
  await Promise.allSettled(Array.from({ length: 32 }, (_, worker) => one(worker)))
  await ca.end('SIGKILL')
  return held
}

test('after a kill -9 in a burst, every certificate that a client holds is in the ledger and in the tree', async (t) => {
  await using dir = await temporary()
  const stateDir = join(dir.path, 'ca')
  const held: Uint8Array[] = []
  for (const killAfter of [3, 150, 700]) {
    held.push(...(await burst(await startCaProcess(stateDir), killAfter)))
  }
  t.true(held.length >= 853, `${held.length} certificates`)
  using log = await openLogState(stateDir)
  t.like(await log.audit(), { ok: true, faultCount: 0 })
  const publicKey = createPublicKey(log.publicKeyPem)
  const serials = new Set<string>()
  for (const der of held) {
    const { serial } = readCertificate(der)
    serials.add(serial)
    const proof = await log.prove(serial)
    t.is(proof && inclusionFault(proof, der, publicKey), undefined)
    t.truthy(proof, serial)
  }
  t.is(serials.size, held.length, 'no serial was used twice')
})

test('redoubt ca log head, prove and verify ask the CA of a mesh that runs, and cert inspect shows its proof', async (t) => {
  await using dir = await temporary()
  const cwd = dir.path
  t.is(await startRedoubt(['init', 'mesh'], { cwd }).exited, 0)
  await using mesh = await startMesh(['-f', 'mesh'], { cwd })
  const redoubt = async (...args: readonly string[]): Promise<string> => {
    const { stdout } = await promisify(execFile)(process.execPath, [LAUNCHER, ...args], { cwd })
    return stdout
  }
  const workload = `default/${mesh.workload('api').name}`
  await writeFile(join(cwd, 'head.json'), await redoubt('ca', 'log', 'head', '--output', 'json'))
  await writeFile(join(cwd, 'key.pem'), await redoubt('ca', 'log', 'head', '--public-key'))
  await writeFile(
    join(cwd, 'cert.pem'),
    await redoubt('cert', 'inspect', '-w', workload, '-o', 'pem'),
  )
  const inspected = JSON.parse(await redoubt('cert', 'inspect', '-w', workload, '-o', 'json'))
  t.like(inspected.certificates[0].log, { verified: true, error: null, life: 'default' })
  t.is(inspected.certificates[0].life.why, 'default')
  await writeFile(join(cwd, 'proof.json'), await redoubt('ca', 'log', 'prove', 'cert.pem'))
  await mkdir(join(cwd, 'elsewhere'))
  const offline = ['--state', 'elsewhere', '--log-key', 'key.pem']
  const proved = ['ca', 'log', 'verify', 'proof.json', '--of', 'cert.pem', ...offline]
  t.regex(await redoubt(...proved), /^✔ the certificate is entry/)
  t.regex(await redoubt('ca', 'log', 'verify', '--since', 'head.json'), /✔ it has only grown/)
})
