/** The JWT methods of the Workload API as a stranger's client meets them: real socket, real CA, moved time. */
import { generateKeyPairSync, sign } from 'node:crypto'
import { Metadata, status } from '@grpc/grpc-js'
import test from 'ava'
import type { JWTSVIDResponse, ValidateJWTSVIDResponse } from '#agent/proto/gen/workload.ts'
import { jwtKeysText, readJwtKeys, verifyJwtSvid } from '#ca/jwt/index.ts'
import { parseSpiffeId } from '#ca/spiffe/index.ts'
import { administrator } from '#test/ca/admin/harness.ts'
import { failureOf, trustDomain, workloadId } from '#test/ca/harness.ts'
import { createTokenCache, MAX_TOKENS } from '../../agent/jwt/token-cache.ts'
import {
  type AgentStory,
  hear,
  securityHeader,
  startStory,
  until,
  WorkloadClient,
} from './harness.ts'

const otherId = parseSpiffeId('spiffe://prod.example/ns/pay/sa/other')

/** Callbacks as promises. */
function jwtCalls(client: WorkloadClient) {
  return {
    fetch: (audience: readonly string[], spiffeId = '', metadata = securityHeader()) =>
      new Promise<JWTSVIDResponse>((resolve, reject) => {
        client.raw.fetchJwtsvid({ audience, spiffeId }, metadata, (cause, response) =>
          cause ? reject(cause) : resolve(response),
        )
      }),
    validate: (svid: string, audience: string, metadata = securityHeader()) =>
      new Promise<ValidateJWTSVIDResponse>((resolve, reject) => {
        client.raw.validateJwtsvid({ audience, svid }, metadata, (cause, response) =>
          cause ? reject(cause) : resolve(response),
        )
      }),
  }
}

function headerOf(token: string): { readonly kid: string } {
  return JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString())
}

async function fetched(story: AgentStory, audience: readonly string[] = ['db']): Promise<string> {
  using client = new WorkloadClient(story.agent)
  const { svids } = await jwtCalls(client).fetch(audience)
  return svids[0]?.svid ?? ''
}

test('FetchJWTSVID gives a token that FetchJWTBundles verifies and ValidateJWTSVID accepts', async (t) => {
  await using story = await startStory()
  using client = new WorkloadClient(story.agent)
  const { fetch, validate } = jwtCalls(client)
  const { svids } = await fetch(['db'])
  t.is(svids.length, 1)
  const [{ spiffeId, svid, hint } = { spiffeId: '', svid: '', hint: '?' }] = svids
  t.deepEqual([spiffeId, hint], [workloadId, ''])

  const heard = hear(client.raw.fetchJwtBundles({}, securityHeader()))
  await until(() => heard.messages.length > 0, 'the keys')
  t.deepEqual(Object.keys(heard.newest().bundles), [`spiffe://${trustDomain}`])
  const text = heard.newest().bundles[`spiffe://${trustDomain}`]?.toString() ?? ''
  const { keys } = JSON.parse(text) as { keys: readonly Record<string, string>[] }
  t.true(keys.length > 0)
  for (const key of keys) {
    t.is(key['use'], 'jwt-svid')
    t.truthy(key['kid'])
    t.deepEqual(Object.keys(key).toSorted(), ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'])
  }
  const bundle = { trustDomain, jwtKeys: readJwtKeys(text) }
  const verdict = verifyJwtSvid(svid, [bundle], 'db', story.now())
  t.is(verdict.kind === 'ok' && verdict.svid.id, workloadId)

  const validated = await validate(svid, 'db')
  t.is(validated.spiffeId, workloadId)
  const { sub, aud, exp, iat } = validated.claims as Record<string, unknown>
  t.deepEqual([sub, aud, Number(exp) - Number(iat)], [workloadId, 'db', 300])
})

test('FetchJWTSVID names every audience asked for, each once', async (t) => {
  await using story = await startStory()
  const token = await fetched(story, ['a', 'b', 'a'])
  const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as {
    aud: unknown
  }
  t.deepEqual(claims.aud, ['a', 'b'])
})

test('the JWT methods refuse with the statuses of the standard', async (t) => {
  await using story = await startStory()
  using client = new WorkloadClient(story.agent)
  const { fetch, validate } = jwtCalls(client)
  const token = await fetched(story)
  const bare = new Metadata()
  const { INVALID_ARGUMENT, PERMISSION_DENIED } = status
  const cases: readonly (readonly [string, number, () => Promise<unknown>])[] = [
    ['no header', INVALID_ARGUMENT, () => fetch(['db'], '', bare)],
    ['no header', INVALID_ARGUMENT, () => validate(token, 'db', bare)],
    ['no audience', INVALID_ARGUMENT, () => fetch([])],
    ['an empty audience', INVALID_ARGUMENT, () => fetch(['db', ''])],
    ['a wish that is no SPIFFE ID', INVALID_ARGUMENT, () => fetch(['db'], 'nobody')],
    ['the identity of another', PERMISSION_DENIED, () => fetch(['db'], otherId)],
    ['no audience to judge by', INVALID_ARGUMENT, () => validate(token, '')],
    ['no token', INVALID_ARGUMENT, () => validate('', 'db')],
    ['a token for somebody else', INVALID_ARGUMENT, () => validate(token, 'cache')],
    ['no token at all', INVALID_ARGUMENT, () => validate('a.b.c', 'db')],
  ]
  for (const [what, code, call] of cases) t.is((await failureOf(call())).code, code, what)

  story.callersAre(undefined)
  for (const call of [() => fetch(['db']), () => validate(token, 'db')]) {
    t.is((await failureOf(call())).code, PERMISSION_DENIED, 'a caller that nobody registered')
  }
  const heard = hear(client.raw.fetchJwtBundles({}, securityHeader()))
  await until(() => heard.failure() !== undefined)
  t.is(heard.failure()?.code, PERMISSION_DENIED)
})

test('an identity outside the scope of the node gets no token', async (t) => {
  await using story = await startStory({ scope: [workloadId] })
  story.callersAre(otherId)
  using client = new WorkloadClient(story.agent)
  const failure = await failureOf(jwtCalls(client).fetch(['db']))
  t.is(failure.code, status.PERMISSION_DENIED)
  t.regex(failure.details, /CA_NOT_ADMITTED/)
})

test('a token is fetched once for all who ask and renewed after half of its life', async (t) => {
  await using story = await startStory()
  const [first, ...others] = await Promise.all([1, 2, 3, 4].map(() => fetched(story)))
  t.deepEqual(new Set(others), new Set([first]))
  await story.pass(140_000, 2000)
  t.is(await fetched(story), first ?? '', 'before half of its life')
  await story.pass(20_000, 2000)
  t.not(await fetched(story), first ?? '', 'after it')
})

test('while the CA is away a token is given out until its end, and never after', async (t) => {
  await using story = await startStory({ leafTtl: 'PT1H' })
  const first = await fetched(story)
  await story.stopCa()
  await story.pass(200_000, 2000)
  t.is(await fetched(story), first)
  await story.pass(110_000, 2000)
  using client = new WorkloadClient(story.agent)
  const failing = failureOf(jwtCalls(client).fetch(['db']))
  await story.pass(12_000)
  t.is((await failing).code, status.UNAVAILABLE)
})

test('ValidateJWTSVID refuses a token by a key that is not in the bundle', async (t) => {
  await using story = await startStory()
  using client = new WorkloadClient(story.agent)
  const [header = '', payload = ''] = (await fetched(story)).split('.')
  const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const signed = Buffer.from(`${header}.${payload}`)
  const signature = sign('sha256', signed, { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')
  const failure = await failureOf(jwtCalls(client).validate(`${signed}.${signature}`, 'db'))
  t.regex(failure.details, /signature/)
})

test('FetchJWTBundles sends the next key long before a token is signed by it', async (t) => {
  const ownTtl = Temporal.Duration.from('PT1H')
  await using story = await startStory({ leafTtl: 'PT8M', caTtl: 'PT1H', config: { ownTtl } })
  using client = new WorkloadClient(story.agent)
  const heard = hear(client.raw.fetchJwtBundles({}, securityHeader()))
  await until(() => heard.messages.length > 0, 'the keys')
  const kids = () => {
    const [text] = Object.values(heard.newest().bundles)
    return readJwtKeys(String(text)).map(({ kid }) => kid)
  }
  const [first] = kids()
  for (const ms of [240_000, 26 * 60_000]) {
    await story.clock.advance(ms - 2000) // the node renews itself for an hour; then half of PT1H is over
    await story.pass(4000)
  }
  await until(() => kids().length === 2, 'the next key')
  t.is(kids()[0], first)
  t.is(heard.messages.length, 2)
  t.is(headerOf(await fetched(story)).kid, first ?? '')
})

test('createTokenCache() forgets a token whose key has left the bundle, and holds a bounded number', async (t) => {
  const at = Temporal.Instant.from('2026-11-21T12:00:00Z')
  const key = (kid: string) =>
    readJwtKeys(jwtKeysText([{ kty: 'EC', use: 'jwt-svid', kid, crv: 'P-256', x: 'x', y: 'y' }]))
  let current = { trustDomain, generation: 1, roots: [], jwtKeys: key('a') }
  let issued = 0
  const cache = createTokenCache({
    now: () => at,
    log: () => {},
    bundle: {
      get current() {
        return current
      },
      async *changes() {},
    },
    async issue(id) {
      issued += 1
      const { kid = '' } = current.jwtKeys[0] ?? {}
      return { id, token: `t${issued}`, kid, issuedAt: at, expiresAt: at.add({ minutes: 5 }) }
    },
  })
  t.is((await cache.get(workloadId, ['x', 'y'])).token, 't1')
  t.is((await cache.get(workloadId, ['y', 'x'])).token, 't1', 'order does not matter')
  current = { ...current, jwtKeys: key('b') }
  t.is((await cache.get(workloadId, ['x', 'y'])).token, 't2')
  for (let n = 0; n < MAX_TOKENS + 10; n += 1) await cache.get(workloadId, [String(n)])
  t.is(cache.size(), MAX_TOKENS)
})

test('identity-standards §3.5: tokens of a tainted key are replaced, and after its revocation nobody believes one', async (t) => {
  await using story = await startStory({ leafTtl: 'PT20M' })
  const ca = story.ca()
  using admin = await administrator(ca)
  using client = new WorkloadClient(story.agent)
  const { validate } = jwtCalls(client)
  const heard = hear(client.raw.fetchJwtBundles({}, securityHeader()))
  const keysOf = () => heard.newest().bundles[`spiffe://${trustDomain}`]?.toString() ?? ''
  const old = await fetched(story)
  t.is(await fetched(story), old, 'it is cached')
  const { kid } = headerOf(old)
  const statesOf = async () =>
    (await admin.call('status', {})).jwtKeys.map(({ state, keyId }) => [state, keyId === kid])
  t.deepEqual(await statesOf(), [['active', true]])

  const tainted = await admin.call('taint', { keyId: kid })
  t.is(tainted.notYet, undefined)
  t.deepEqual(await statesOf(), [
    ['tainted', true],
    ['prepared', false],
  ])
  const revoke = { subject: kid, undo: false, force: false }
  const early = await admin.call('revoke', revoke)
  t.like(early.notYet, { reason: 'CA_ROTATION_NOT_YET', retryAfterMs: 2000 })
  await story.clock.advance(2000)
  await until(() => story.agent.bundle.current.renewKeys?.includes(kid) ?? false)
  const next = await fetched(story)
  t.not(headerOf(next).kid, kid)
  t.is(await fetched(story), next)
  t.is((await validate(old, 'db')).spiffeId, workloadId, 'until the key is revoked')

  t.is((await admin.call('revoke', revoke)).notYet, undefined)
  t.deepEqual(await statesOf(), [
    ['revoked', true],
    ['active', false],
  ])
  await until(() => !keysOf().includes(kid), 'the key to leave the bundle')
  const refused = await failureOf(validate(old, 'db'))
  t.is(refused.code, status.INVALID_ARGUMENT)
  t.is(await fetched(story), next)
  const calls = (await ca.log.audit()).calls
  t.true(calls >= 4, 'each step is in the log, done or not')
})

test('while the CA is away a token of a tainted key is given out still', async (t) => {
  await using story = await startStory({ leafTtl: 'PT20M' })
  const old = await fetched(story)
  await story.ca().taint({ name: 'uid:1000' }, headerOf(old).kid)
  await until(() => (story.agent.bundle.current.renewKeys?.length ?? 0) > 0)
  await story.stopCa()
  t.is(await fetched(story), old)
})
