/** What certificates of a key are worth once it is tainted: to whom we gave them, and to whoever has the key. */
import { createPrivateKey, randomBytes, sign } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { status } from '@grpc/grpc-js'
import test from 'ava'
import { adminIdOf } from '#ca/admin/administrator.ts'
import { proofText } from '#ca/attest/certificate-proof.ts'
import { openCa } from '#ca/index.ts'
import type { Svid } from '#ca/proto/gen/ca.ts'
import { readCertificate } from '#ca/x509/index.ts'
import { administrator, adminClient } from '../admin/harness.ts'
import {
  agentId,
  attestedClient,
  Client,
  configIn,
  failureOf,
  newCsr,
  newKey,
  realClock,
  type RunningCa,
  startCa,
  svidOf,
  temporaryDir,
  trustDomain,
  workloadId,
} from '../harness.ts'
import { ext, forgeLeaf } from '../x509/forge.ts'

const uid = { name: 'uid:1000' }
const TAINTED = { code: status.UNAUTHENTICATED, reason: 'CA_CERTIFICATE_TAINTED' }

/** What a thief of the issuing key makes of it: a leaf of any name that the ledger has never seen. */
async function forgeFor({ ca, stateDir }: RunningCa, id: string, serial = randomBytes(16)) {
  const entry = ca.authorities.book.current.authorities.find(({ kind }) => kind === 'issuing')
  if (!entry) throw new Error('no issuing CA')
  const issuing = readCertificate(Buffer.from(entry.certificate, 'base64'))
  const pem = await readFile(join(stateDir, 'keys', `${entry.keyId}.pem`))
  const by = { ...issuing, key: createPrivateKey(pem), name: issuing.subject }
  const key = newKey()
  const leaf = forgeLeaf(
    { ...by, ski: issuing.ski ?? new Uint8Array() },
    {
      key,
      serial,
      notBefore: issuing.notBefore,
      notAfter: Temporal.Now.instant().add({ hours: 1 }),
      extensions: { san: ext.uri(id) },
    },
  )
  const chain = [leaf.der, issuing.der].map((der) => Buffer.from(der))
  const svid: Svid = { spiffeId: id, chain, issuedAtMs: 0n, notAfterMs: 0n }
  return { svid, chain, key, keyId: entry.keyId }
}

test('a certificate that a tainted key signed renews only if the ledger has it: no thief of the key launders one', async (t) => {
  await using running = await startCa()
  const { ca } = running
  using agent = await attestedClient(ca)
  const forged = await forgeFor(running, agentId)
  const own = readCertificate(agent.svid.chain[0] ?? new Uint8Array()).serial
  const copied = await forgeFor(running, agentId, Buffer.from(own, 'hex'))
  const admin = await forgeFor(running, adminIdOf(trustDomain))
  const wanted = { spiffeId: agentId, csr: newCsr() }
  using thief = new Client(ca, forged)
  t.is(svidOf(await thief.issue(wanted)).spiffeId, agentId, 'nobody knows of the theft yet')

  await ca.taint(uid, forged.keyId)
  const refused = await failureOf(thief.issue(wanted))
  t.like(refused, TAINTED)
  t.regex(
    refused.details,
    new RegExp(
      `the key ${forged.keyId} that signed its certificate is tainted, and the ledger has`,
    ),
  )
  t.regex(refused.details, /; attest again with other evidence, such as a join token$/)
  using again = new Client(ca, copied)
  t.like(await failureOf(again.issue(wanted)), TAINTED, 'with a serial of ours, too')
  using ruler = adminClient(ca, admin)
  t.like(await failureOf(ruler.call('status', {})), TAINTED)
  t.truthy(svidOf(await agent.client.issue({ spiffeId: workloadId, csr: newCsr() })))
})

test('users §1.3.34: taint, renew, revoke is no outage: who was given a certificate renews it over its own connection', async (t) => {
  await using running = await startCa()
  const { ca } = running
  using before = await attestedClient(ca)
  const { keyId = '' } = ca.authorities.book.current.authorities[1] ?? {}
  await ca.taint(uid, keyId)
  const key = newKey()
  const renewed = svidOf(await before.client.issue({ spiffeId: agentId, csr: newCsr(key) }))
  const { ski } = readCertificate(renewed.chain[1] ?? new Uint8Array())
  t.not(Buffer.from(ski ?? []).toString('hex'), keyId, 'another key signed it')
  using away = new Client(ca, before)
  t.truthy(svidOf(await away.issue({ spiffeId: agentId, csr: newCsr() })), 'who was away, too')
  using admin = await administrator(ca)
  const revoke = { subject: keyId, undo: false, force: false }
  t.is((await admin.call('revoke', revoke)).notYet, undefined)
  await t.throwsAsync(away.issue({ spiffeId: agentId, csr: newCsr() }))
  using after = new Client(ca, { svid: renewed, key })
  t.truthy(svidOf(await after.issue({ spiffeId: workloadId, csr: newCsr() })))
})

const machineId = 'spiffe://prod.example/ns/db/sa/machine'

async function prove(client: Client, chain: readonly Buffer[], key = newKey()) {
  const challenge = await client.challenge()
  const csr = newCsr()
  const signature = sign('sha256', proofText(trustDomain, challenge, csr), key)
  return client.attest({ certificate: { chain: [...chain], challenge, signature } }, csr)
}

test('an existing certificate attests no machine once its issuer is tainted, before that is revoked', async (t) => {
  await using dir = await temporaryDir()
  const deps = { now: () => Temporal.Now.instant(), clock: realClock, log: () => {} }
  const roots = await (async () => {
    await using first = await openCa(configIn(dir.path), deps)
    return first.bundle.current.roots
  })()
  const agents = { agentId: 'spiffe://prod.example/machine/db', scope: [] }
  const certificates = [{ roots, name: machineId, ...agents }]
  await using ca = await openCa({ ...configIn(dir.path), attestation: { certificates } }, deps)
  using admin = await administrator(ca)
  const issue = async () => {
    const key = newKey()
    const asked = { spiffeId: machineId, csr: newCsr(key), ttlSeconds: 600 }
    return { key, chain: (await admin.call('issueFor', asked)).svid?.chain ?? [] }
  }
  using client = new Client(ca)
  const old = await issue()
  t.is((await prove(client, old.chain, old.key)).svid?.spiffeId, agents.agentId)

  const { keyId = '' } = ca.authorities.book.current.authorities[1] ?? {}
  await ca.taint(uid, keyId)
  const failure = await failureOf(prove(client, old.chain, old.key))
  t.like(failure, TAINTED)
  t.is(
    failure.details,
    `Cannot believe the certificate: the key ${keyId} that signed it is tainted; have it renewed by whoever issued it, or attest with a join token`,
  )
  const renewed = await issue()
  t.truthy((await prove(client, renewed.chain, renewed.key)).svid)

  const { serial } = readCertificate(renewed.chain[0] ?? new Uint8Array())
  await admin.call('revoke', { subject: serial, undo: false, force: false })
  const denied = await failureOf(prove(client, renewed.chain, renewed.key))
  t.is(denied.reason, 'CA_EVIDENCE_REFUSED')
  t.regex(denied.details, /the serial [0-9a-f]+ is on the deny-list/)
})
