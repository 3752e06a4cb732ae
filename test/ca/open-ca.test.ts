import test from 'ava'
import { verifySvid } from '#ca/x509/index.ts'
import { agentId, attestedClient, newCsr, startCa, svidOf, workloadId } from './harness.ts'

test('openCa() issues an SVID to an agent that attested, from attestation to a verified chain', async (t) => {
  await using running = await startCa()
  const { ca } = running
  using agent = await attestedClient(ca)
  t.is(agent.svid.spiffeId, agentId)

  const svid = svidOf(await agent.client.issue({ spiffeId: workloadId, csr: newCsr() }))
  const now = Temporal.Now.instant()
  const verdict = verifySvid(svid.chain, [ca.bundle.current], now, 'server')
  t.is(verdict.kind, 'ok')
  t.is(verdict.kind === 'ok' && verdict.id, workloadId)
  t.true(ca.health().ready)
  t.deepEqual(ca.health().reasons, [])
  t.regex(await ca.metrics(), /redoubt_ca_svids_issued_total 2\n/)
})
