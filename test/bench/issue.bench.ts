/** What an SVID costs the CA: the whole batch path, and where the time goes. CPU µs for each. */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseSpiffeId, parseTrustDomain } from '#ca/spiffe/index.ts'
import { makeIssuing } from '#ca/keys/authority.ts'
import { localKey } from '#ca/keys/signing-key.ts'
import { activePair } from '#ca/authorities/book.ts'
import { openAuthority } from '#ca/open-authority.ts'
import { createSvidSigner } from '#ca/issue/issue-svid.ts'
import { issueBatch } from '#ca/issue/issue-batch.ts'
import {
  buildCsr,
  compileDenyList,
  type DenyRecord,
  MAX_DENIALS,
  verifyCsr,
  verifySvid,
} from '#ca/x509/index.ts'
import { planSvid } from '#ca/issue/template.ts'

const trustDomain = parseTrustDomain('prod.example')
const caller = {
  id: parseSpiffeId('spiffe://prod.example/ns/redoubt-system/sa/redoubt-agent'),
  scope: ['spiffe://prod.example/*'],
}
const dir = mkdtempSync(join(tmpdir(), 'redoubt-bench-'))
const ttl = Temporal.Duration.from('PT1H')
const config = {
  trustDomain,
  stateDir: dir,
  listen: { host: '127.0.0.1', port: 0 },
  leafTtl: ttl,
  maxLeafTtl: ttl,
  caTtl: Temporal.Duration.from('PT168H'),
  rootTtl: Temporal.Duration.from('P365D'),
}
const now = () => Temporal.Now.instant()
await using authority = await openAuthority(config, now)
const serverId = parseSpiffeId('spiffe://prod.example/ns/redoubt-system/sa/redoubt-ca')
const adminId = undefined
const rules = { trustDomain, serverId, adminId, leafTtl: ttl, maxLeafTtl: ttl }
const limit = { take: (_: unknown, granted: number) => ({ granted, retryAfterMs: 0 }) }
const deps = { ...authority, now, limit, rules }
const csrs = Array.from({ length: 50 }, (_, at) => ({
  spiffeId: `spiffe://prod.example/ns/pay/sa/w${at}`,
  csrDer: buildCsr(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey),
  ttlSeconds: 0,
}))

async function measure(name: string, each: number, work: () => unknown): Promise<void> {
  const untilMs = performance.now() + 300
  while (performance.now() < untilMs) await work()
  const before = process.cpuUsage()
  const startMs = performance.now()
  let count = 0
  while (performance.now() < startMs + 1500) {
    await work()
    count += each
  }
  const { user, system } = process.cpuUsage(before)
  const perSecond = (count / (performance.now() - startMs)) * 1000
  const cpu = ((user + system) / count).toFixed(1)
  console.log(
    `${name.padEnd(48)} ${cpu.padStart(8)} µs CPU ${perSecond.toFixed(0).padStart(9)} a second`,
  )
}

const [first] = csrs
if (!first) throw new Error('no request')
const signer = authority.signer()
const template = planSvid(
  {
    spiffeId: parseSpiffeId(first.spiffeId),
    publicKeyDer: verifyCsr(first.csrDer).publicKeyDer,
    ttl,
  },
  now(),
  randomBytes(16),
  now().add({ hours: 100 }),
)
const leaf = await signer.seal(template)
const chain = [leaf, signer.authority.certificate.der]
await measure('issueBatch(), 50 a call, ledger on', 50, () => issueBatch(deps, caller, csrs))
await measure('issueBatch(), 1 a call, 64 at a time', 64, () =>
  Promise.all(
    Array.from({ length: 64 }, (_, at) => issueBatch(deps, caller, [csrs[at % 50] ?? first])),
  ),
)
await measure('verifyCsr()', 1, () => verifyCsr(first.csrDer))
await measure('seal(): encode, sign, self-check', 1, () => signer.seal(template))
await measure('verifySvid(), 2 certificates, issuer remembered', 1, () =>
  verifySvid(chain, [authority.bundle.current], now(), 'client'),
)
const until = now().add({ hours: 1 })
const denials = Array.from({ length: MAX_DENIALS }, (_, at): DenyRecord => {
  const value = (at + 0x100000).toString(16)
  return { kind: 'serial', value, until, generation: 1, lifted: false }
})
const denies = compileDenyList({ generation: 1, entries: denials })
const denying = { ...authority.bundle.current, denies }
await measure('verifySvid(), the same beside a deny-list of 10,000', 1, () =>
  verifySvid(chain, [denying], now(), 'client'),
)
// More issuers than are remembered, in turn: each verification reads and checks its issuer anew.
const root = await authority.authorities.open(activePair(authority.authorities.book.current).root)
const strangers: (readonly Uint8Array[])[] = []
for (let at = 0; at < 128; at += 1) {
  const key = localKey(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)
  const of = { trustDomain, key, now: now(), ttl: Temporal.Duration.from('PT9H') }
  const issuing = await makeIssuing(root, { ...of, serial: Uint8Array.of(1, at) })
  strangers.push([await createSvidSigner(issuing).seal(template), issuing.certificate.der])
}
let turn = 0
await measure('verifySvid(), 2 certificates, issuer unknown', 1, () => {
  turn = (turn + 1) % strangers.length
  return verifySvid(strangers[turn] ?? [], [authority.bundle.current], now(), 'client')
})
rmSync(dir, { recursive: true })
