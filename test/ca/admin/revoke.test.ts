/** Revoking by serial, by identity and by key, and the lists that others take. */
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { withOpenssl } from '#test/fakes/with-openssl.ts'
import { pemFromDer, readCertificate } from '#ca/x509/index.ts'
import {
  attestedClient,
  failureOf,
  newCsr,
  startCa,
  svidOf,
  temporaryDir,
  workloadId,
} from '../harness.ts'
import { type AdminClient, administrator } from './harness.ts'

const run = promisify(execFile)
const openssl = (args: readonly string[]) => run('openssl', args)

const revoke = (admin: AdminClient, subject: string, undo = false) =>
  admin.call('revoke', { subject, undo, force: false })

const issue = async (admin: AdminClient, spiffeId: string = workloadId) => {
  const { svid } = await admin.call('issueFor', { spiffeId, csr: newCsr(), ttlSeconds: 600 })
  return svid?.chain ?? []
}

const serialOf = (chain: readonly Uint8Array[]) =>
  readCertificate(chain[0] ?? new Uint8Array()).serial

test('ca revoke of a serial denies that certificate until its end, and of an identity until it is undone', async (t) => {
  await using running = await startCa()
  const { ca } = running
  using admin = await administrator(ca)
  const chain = await issue(admin)
  await revoke(admin, serialOf(chain))
  await revoke(admin, workloadId)
  const { notAfter } = readCertificate(chain[0] ?? new Uint8Array())
  const listed = ca.denials.list.current.entries.map(({ kind, value, until, lifted }) => ({
    ...{ kind, value, lifted },
    until: String(until),
  }))
  t.deepEqual(listed, [
    { kind: 'serial', value: serialOf(chain), lifted: false, until: String(notAfter) },
    { kind: 'spiffe-id', value: workloadId, lifted: false, until: '9999-12-31T23:59:59Z' },
  ])
  using agent = await attestedClient(ca)
  const refused = await agent.client.issue({ spiffeId: workloadId, csr: newCsr() })
  t.throws(() => svidOf(refused), { message: 'CA_NOT_ADMITTED' }, 'nor does it get another')

  await revoke(admin, workloadId, true)
  t.is(
    svidOf(await agent.client.issue({ spiffeId: workloadId, csr: newCsr() })).spiffeId,
    workloadId,
  )
})

test('ca revoke of what the CA does not know is refused, and says what it takes', async (t) => {
  await using running = await startCa()
  using admin = await administrator(running.ca)
  for (const subject of ['ff00', 'nonsense', '']) {
    const failure = await failureOf(revoke(admin, subject))
    t.is(failure.reason, 'CA_DENIAL_INVALID', subject)
    t.regex(
      failure.details,
      /the ledger has no certificate with this serial, and it is no SPIFFE ID/,
    )
  }
  t.is((await failureOf(revoke(admin, 'spiffe://UPPER/x'))).reason, 'CA_ID_INVALID')
  t.is((await failureOf(revoke(admin, running.ca.serverId))).reason, 'CA_DENIAL_INVALID')
  t.is((await failureOf(revoke(admin, workloadId, true))).reason, 'CA_DENIAL_INVALID')
})

withOpenssl(
  'users §1.3.31: ca crl exports lists that OpenSSL verifies, and by which it refuses what is revoked',
  async (t) => {
    await using running = await startCa()
    const { ca } = running
    await using dir = await temporaryDir()
    using admin = await administrator(ca)
    const [good, bad, denied] = [
      await issue(admin),
      await issue(admin),
      await issue(admin, 'spiffe://prod.example/ns/web/sa/front'),
    ]
    await revoke(admin, serialOf(bad))
    await revoke(admin, 'spiffe://prod.example/ns/web/sa/front')
    const { crls } = await admin.call('exportCrls', {})
    t.is(crls.length, 2, 'of the root, and of the issuing CA')
    const file = async (name: string, text: string): Promise<string> => {
      const path = join(dir.path, name)
      await writeFile(path, text)
      return path
    }
    const root = await file('root.pem', pemFromDer('CERTIFICATE', ca.bundle.current.roots))
    const issuing = await file(
      'issuing.pem',
      pemFromDer('CERTIFICATE', good[1] ?? new Uint8Array()),
    )
    const lists = await file('all.crl', crls.map((der) => pemFromDer('X509 CRL', der)).join(''))
    for (const [at, issuer] of [root, issuing].entries()) {
      const one = await file(`${at}.crl`, pemFromDer('X509 CRL', crls[at] ?? new Uint8Array()))
      const { stderr } = await openssl(['crl', '-in', one, '-noout', '-verify', '-CAfile', issuer])
      t.regex(stderr, /verify OK/)
    }
    const verify = async (name: string, chain: readonly Uint8Array[]): Promise<string> => {
      const leaf = await file(name, pemFromDer('CERTIFICATE', chain[0] ?? new Uint8Array()))
      const trust = ['-CAfile', root, '-untrusted', issuing, '-CRLfile', lists, '-crl_check_all']
      return openssl(['verify', ...trust, leaf]).then(
        ({ stdout }) => stdout,
        ({ stderr }: { stderr: string }) => stderr,
      )
    }
    t.regex(await verify('good.pem', good), /good\.pem: OK/)
    t.regex(await verify('bad.pem', bad), /certificate revoked/)
    t.regex(await verify('denied.pem', denied), /certificate revoked/)
    const shown = await openssl(['crl', '-in', lists, '-noout', '-text'])
    t.regex(shown.stdout, /Version 2/)
    t.regex(shown.stdout, /X509v3 Authority Key Identifier/)
    t.regex(shown.stdout, /X509v3 CRL Number/)
  },
)

withOpenssl('ca crl has the issuing CA that was revoked, in the list of its root', async (t) => {
  await using running = await startCa()
  await using dir = await temporaryDir()
  using admin = await administrator(running.ca)
  const [, issuing] = (await admin.call('status', {})).authorities
  const keyId = issuing?.keyId ?? ''
  await admin.call('taint', { keyId })
  using later = await administrator(running.ca)
  await later.call('revoke', { subject: keyId, undo: false, force: true })
  const { crls } = await later.call('exportCrls', {})
  const path = join(dir.path, 'root.crl')
  await writeFile(path, pemFromDer('X509 CRL', crls[0] ?? new Uint8Array()))
  const { stdout } = await openssl(['crl', '-in', path, '-noout', '-text'])
  t.true(stdout.toLowerCase().includes(`serial number: ${issuing?.serial}`))
})
