/** A PKI made by Go, plugged in. */
import { execFileSync } from 'node:child_process'
import { hash } from 'node:crypto'
import { join } from 'node:path'
import test from 'ava'
import { openCa } from '#ca/index.ts'
import { readCertificate, verifySvid } from '#ca/x509/index.ts'
import {
  attestedClient,
  configIn,
  newCsr,
  realClock,
  svidOf,
  temporaryDir,
  workloadId,
} from '#test/ca/harness.ts'

const program = process.env['REDOUBT_GO_PKI']
const TITLE = '§15.5 a PKI made by Go, with key identifiers by SHA-256, signs as it is'

if (!program) {
  const why = process.env['REDOUBT_GO_PKI_MISSING'] ?? 'use npm run test:clients'
  test.skip(`${TITLE} (SKIPPED: ${why})`, (t) => t.fail())
} else {
  test(TITLE, async (t) => {
    await using dir = await temporaryDir()
    execFileSync(program, [dir.path])
    const now = () => Temporal.Now.instant()
    const config = configIn(join(dir.path, 'state'), { pluggedIn: dir.path })
    await using ca = await openCa(config, { now, clock: realClock, log: () => {} })
    using agent = await attestedClient(ca)
    const { chain } = svidOf(await agent.client.issue({ spiffeId: workloadId, csr: newCsr() }))
    t.is(verifySvid(chain, [ca.bundle.current], now(), 'client').kind, 'ok')
    const issuer = readCertificate(chain[1] ?? new Uint8Array())
    const point = issuer.publicKeyDer.subarray(-65)
    t.deepEqual(Buffer.from(issuer.ski ?? []), hash('sha256', point, 'buffer').subarray(0, 20))
    t.deepEqual(
      readCertificate(chain[0] ?? new Uint8Array()).aki,
      issuer.ski,
      'copied, not computed',
    )
  })
}
