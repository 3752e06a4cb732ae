/** Tokens for agents over the CA's own listener. */
import { status } from '@grpc/grpc-js'
import test from 'ava'
import type { IssueJwtResponse } from '#ca/proto/gen/ca.ts'
import { verifyJwtSvid } from '#ca/jwt/index.ts'
import { attestedClient, Client, failureOf, startCa, workloadId } from '../harness.ts'

function issueJwt(
  { raw }: Client,
  ...requests: readonly { spiffeId: string; audience: readonly string[] }[]
): Promise<IssueJwtResponse> {
  return new Promise((resolve, reject) => {
    raw.issueJwt({ requests }, (cause, response) => (cause ? reject(cause) : resolve(response)))
  })
}

test('IssueJwt answers each request of an agent with a token or a reason, in order', async (t) => {
  await using running = await startCa()
  using agent = await attestedClient(running.ca)
  const audience = ['db']
  const long = 'x'.repeat(513)
  const { results } = await issueJwt(
    agent.client,
    { spiffeId: workloadId, audience },
    { spiffeId: 'spiffe://prod.example/ns/other/sa/api', audience },
    { spiffeId: 'spiffe://other.example/ns/pay/sa/api', audience },
    { spiffeId: running.ca.serverId, audience },
    { spiffeId: 'nobody', audience },
    { spiffeId: workloadId, audience: [] },
    { spiffeId: workloadId, audience: [''] },
    { spiffeId: workloadId, audience: [long] },
    { spiffeId: workloadId, audience: Array.from({ length: 17 }, () => 'db') },
  )
  const outcomes = results.map(({ outcome }) =>
    outcome?.$case === 'refusal' ? outcome.refusal.reason : 'a token',
  )
  t.deepEqual(outcomes, [
    'a token',
    'CA_NOT_ADMITTED',
    'CA_NOT_ADMITTED',
    'CA_NOT_ADMITTED',
    'CA_ID_INVALID',
    'CA_JWT_INVALID',
    'CA_JWT_INVALID',
    'CA_JWT_INVALID',
    'CA_JWT_INVALID',
  ])
  const outcome = results[0]?.outcome
  if (outcome?.$case !== 'svid') return t.fail('no token')
  const { token, issuedAtMs, expiresAtMs } = outcome.svid
  t.is(expiresAtMs - issuedAtMs, 300_000n)
  const now = Temporal.Now.instant()
  const verdict = verifyJwtSvid(token, [running.ca.bundle.current], 'db', now)
  t.is(verdict.kind === 'ok' && verdict.svid.id, workloadId)
  t.regex(await running.ca.metrics(), /redoubt_ca_jwt_svids_issued_total 1\n/)
})

test('IssueJwt signs nothing for a caller without a certificate, and bounds a batch', async (t) => {
  await using running = await startCa()
  using stranger = new Client(running.ca)
  const one = { spiffeId: workloadId, audience: ['db'] }
  const failure = await failureOf(issueJwt(stranger, one))
  t.deepEqual([failure.code, failure.reason], [status.UNAUTHENTICATED, 'CA_CALLER_UNKNOWN'])
  using agent = await attestedClient(running.ca)
  for (const count of [0, 501]) {
    const refused = await failureOf(
      issueJwt(agent.client, ...Array.from({ length: count }, () => one)),
    )
    t.deepEqual([refused.code, refused.reason], [status.INVALID_ARGUMENT, 'CA_JWT_INVALID'])
  }
})

test('no private key for tokens leaves the CA: the bundle has public members only', async (t) => {
  await using running = await startCa()
  const { jwtKeys = [] } = running.ca.bundle.current
  t.is(jwtKeys.length, 1)
  for (const key of jwtKeys) {
    t.deepEqual(Object.keys(key).toSorted(), ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'])
  }
})
