import test from 'ava'
import { request } from 'node:http'
import { createLive } from '#core/live.ts'
import type { Denied, TokenRule } from '#policy/model/index.ts'
import { ProxyError } from '../../../proxy/error.ts'
import { ClusterState } from '../../../proxy/outbound/cluster-state.ts'
import type { CompiledDestination } from '../../../proxy/sync/compiled.ts'
import type { PolicySession } from '../../../proxy/sync/policy-stream.ts'
import { openAdmin } from '../../../proxy/telemetry/admin.ts'
import { createTelemetry } from '../../../proxy/telemetry/telemetry.ts'
import { createFakeIssuer } from '../../fakes/fake-svid.ts'
import {
  cluster,
  destinationBundle,
  inboundBundle,
  realClock,
  SERVER_ID,
} from '../../fakes/fake-sidecars.ts'
import { readExposition } from './exposition.ts'

const NOW = Temporal.Instant.from('2026-01-02T03:04:05Z')
const issuer = await createFakeIssuer()
const FREE = { admin: '127.0.0.1:0', metrics: '127.0.0.1:0', readiness: '127.0.0.1:0' }

const DENIED: Denied = {
  kind: 'deny',
  action: 'ALLOW',
  reason: 'no-allow-matched',
  policy: null,
  rule: null,
  considered: ['test/allow-client'],
  dryRun: [],
  audit: [],
}

async function open(change: { readonly reasons?: readonly string[] } = {}) {
  const aborter = new AbortController()
  const svid = createLive(await issuer.issue(SERVER_ID))
  const telemetry = createTelemetry(
    { clock: realClock, now: () => NOW, random: Math.random },
    aborter.signal,
  )
  const bundle = destinationBundle({ c: cluster('127.0.0.1:1') })
  const state = new ClusterState('c', cluster('127.0.0.1:1'), {
    nowMs: () => 0,
    random: Math.random,
  })
  const destination: CompiledDestination = {
    bundle,
    version: 'd1',
    pickRoute: () => undefined,
    clusters: new Map([['c', state]]),
  }
  const session: PolicySession = {
    inbound: createLive({
      bundle: inboundBundle({ tokenRules: [TOKEN_RULE] }),
      version: 'v1',
      engine: () => () => DENIED,
      authenticate: undefined,
      providers: undefined,
    }).live,
    destination: () => createLive(undefined).live,
    isConnected: () => true,
    held: () => [
      {
        name: 'inbound/test/server',
        desired: 'v2',
        applied: 'v1',
        rejected: { version: 'v2', reason: 'it is bad' },
      },
      { name: `destination/${bundle.host}:80`, desired: 'd1', applied: 'd1' },
      { name: 'destination/nowhere:1', desired: '', applied: '' },
    ],
    destinations: () => [destination],
  }
  const { reasons = [] } = change
  const admin = await openAdmin(FREE, {
    workload: { namespace: 'test', name: 'server' },
    svid: svid.live,
    session,
    telemetry,
    health: () => ({ ready: reasons.length === 0, reasons }),
    clock: realClock,
    now: () => NOW,
    version: '1.2.3',
  })
  return {
    svid,
    telemetry,
    addresses: admin.addresses,
    async [Symbol.asyncDispose]() {
      aborter.abort()
      await admin[Symbol.asyncDispose]()
    },
  }
}

interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string
}

function ask(
  address: string,
  path: string,
  options: { readonly method?: string; readonly headers?: Record<string, string> } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request(`http://${address}${path}`, { agent: false, ...options }, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (text: string) => {
        body += text
      })
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          type: response.headers['content-type'] ?? '',
          body,
        }),
      )
    })
    asked.on('error', reject)
    asked.end()
  })
}

const json = async (address: string, path: string) =>
  JSON.parse((await ask(address, path)).body) as Record<string, never>

test('/ready says LIVE, or 503 and why not, on the admin and the readiness port', async (t) => {
  await using ready = await open()
  await using waiting = await open({ reasons: ['it has no configuration yet'] })
  const paths = [
    [ready.addresses.admin, '/ready'],
    [ready.addresses.readiness, '/healthz/ready'],
  ] as const
  for (const [address, path] of paths) {
    t.like(await ask(address, path), { status: 200, body: 'LIVE\n' })
  }
  t.like(await ask(waiting.addresses.readiness, '/healthz/ready'), {
    status: 503,
    body: 'it has no configuration yet\n',
  })
})

const TOKEN_RULE: TokenRule = {
  issuer: 'iss',
  keys: { kind: 'inline', jwks: '{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}' },
  fromHeaders: [],
  fromParams: [],
  fromCookies: [],
  forwardOriginalToken: false,
  outputClaimToHeaders: [],
  spaceDelimitedClaims: [],
}

test('/config_dump shows what is wanted, in force and refused, and the bundles', async (t) => {
  await using opened = await open()
  const dump = await json(opened.addresses.admin, '/config_dump')
  t.like(dump, {
    workload: 'test/server',
    policyServer: { connected: true },
    inbound: {
      desired: 'v2',
      applied: 'v1',
      rejected: { version: 'v2', reason: 'it is bad' },
      bundle: { mtls: 'STRICT', tokenRules: [{ issuer: 'iss', keys: 'inline' }] },
    },
  })
  t.notRegex(JSON.stringify(dump), /c2VjcmV0/)
  const destinations = dump['destinations'] as unknown as readonly Record<string, unknown>[]
  t.deepEqual(
    destinations.map(({ name, applied, bundle }) => [name, applied, bundle !== null]),
    [
      ['destination/server.test.svc.cluster.local:80', 'd1', true],
      ['destination/nowhere:1', '', false],
    ],
  )
})

test('/certs shows the certificate of the moment and never a key', async (t) => {
  await using opened = await open()
  const first = await json(opened.addresses.admin, '/certs')
  t.is(first['spiffeId'], SERVER_ID as never)
  t.is(first['serial'], opened.svid.live.current.serial as never)
  const renewed = await issuer.issue(SERVER_ID)
  opened.svid.set(renewed)
  const { body } = await ask(opened.addresses.admin, '/certs')
  t.is((JSON.parse(body) as { serial: string }).serial, renewed.serial)
  t.true(body.includes(JSON.stringify(renewed.chainPem).slice(1, -1)))
  t.false(/PRIVATE/.test(body))
})

test('/clusters shows every endpoint, who may answer there and how it does', async (t) => {
  await using opened = await open()
  const [shown] = (await json(opened.addresses.admin, '/clusters')) as unknown as readonly object[]
  t.like(shown, {
    destination: 'server.test.svc.cluster.local:80',
    name: 'c',
    activeRequests: 0,
    endpoints: [
      {
        address: '127.0.0.1:1',
        workload: 'test/server',
        tls: 'mutual',
        identities: [SERVER_ID],
        health: { state: 'in', consecutive5xx: 0, ejections: 0 },
      },
    ],
  })
})

test('/decisions shows denials, headers by name and length only', async (t) => {
  await using opened = await open()
  const connection = {
    peer: undefined,
    sourceIp: '127.0.0.1',
    destinationIp: '127.0.0.1',
    destinationPort: 8080,
    sni: undefined,
  }
  const ids = ['/a', '/b'].map((path) =>
    opened.telemetry.noteDenial({
      decision: DENIED,
      connection,
      attributes: {
        method: 'GET',
        path,
        host: 'h',
        remoteIp: '127.0.0.1',
        header: () => ['Bearer secret'],
        claims: { sub: 'somebody' },
      },
      decide: (http) => {
        t.truthy(http?.path)
        http?.header('x-token')
        t.truthy(http?.claims)
        return DENIED
      },
    }),
  )
  const { admin } = opened.addresses
  const all = await ask(admin, '/decisions')
  t.false(/secret|somebody/.test(all.body))
  const { decisions } = JSON.parse(all.body) as { decisions: readonly Record<string, unknown>[] }
  t.like(decisions[0], {
    sequence: 1,
    id: ids[0],
    reason: 'no-allow-matched',
    considered: ['test/allow-client'],
    request: { path: '/a', headers: { 'x-token': ['<13 characters>'] }, claims: ['sub'] },
  })
  const since = await json(admin, '/decisions?since=1')
  t.is((since['decisions'] as unknown as readonly unknown[]).length, 1)
  t.like(await json(admin, `/decisions?id=${ids[1]}`), { sequence: 2 })
  t.is((await ask(admin, '/decisions?id=none')).status, 404)
  t.is((await ask(admin, '/decisions?since=-1')).status, 400)
})

test('/stats/prometheus is the same on the admin and the metrics port, and reads as Prometheus', async (t) => {
  await using opened = await open()
  opened.svid.set(await issuer.issue(SERVER_ID))
  await new Promise((resolve) => setImmediate(resolve))
  for (const [address, path] of [
    [opened.addresses.admin, '/stats/prometheus'],
    [opened.addresses.metrics, '/stats/prometheus'],
    [opened.addresses.metrics, '/metrics'],
  ] as const) {
    const { status, type, body } = await ask(address, path)
    t.is(status, 200)
    t.is(type, 'text/plain; version=0.0.4; charset=utf-8')
    const { samples } = readExposition(body)
    const readValue = (name: string, labels: object = {}) =>
      samples.find(
        (one) =>
          one.name === name &&
          Object.entries(labels).every(([key, value]) => one.labels[key] === value),
      )?.value
    t.is(readValue('istio_build', { component: 'proxy', tag: '1.2.3' }), 1)
    t.is(readValue('redoubt_ready'), 1)
    t.is(readValue('redoubt_svid_rotations_total'), 1)
    t.is(readValue('redoubt_config_resources', { state: 'rejected' }), 1)
    t.is(readValue('redoubt_config_resources', { state: 'applied' }), 1)
    t.is(readValue('redoubt_config_resources', { state: 'pending' }), 1)
    t.is(
      readValue('redoubt_svid_expiry_timestamp_seconds', { spiffe_id: SERVER_ID }),
      opened.svid.live.current.notAfter.epochMilliseconds / 1000,
    )
  }
})

test('/help names every page that there is', async (t) => {
  await using opened = await open()
  const { body } = await ask(opened.addresses.admin, '/help')
  const pages = body.match(/^\/\S+/gm) ?? []
  t.is(pages.length, 6)
  for (const page of pages) t.is((await ask(opened.addresses.admin, page)).status, 200, page)
})

test('openAdmin() changes nothing for anybody', async (t) => {
  await using opened = await open()
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
    t.is((await ask(opened.addresses.admin, '/ready', { method })).status, 405, method)
  }
  t.is((await ask(opened.addresses.admin, '/quitquitquit')).status, 404)
  t.is((await ask(opened.addresses.admin, '/constructor')).status, 404)
  t.deepEqual(await ask(opened.addresses.admin, '/ready', { method: 'HEAD' }), {
    status: 200,
    type: 'text/plain; charset=utf-8',
    body: '',
  })
})

test('openAdmin() does not answer a browser that was led here by another name', async (t) => {
  await using opened = await open()
  const by = (host: string) => ask(opened.addresses.admin, '/certs', { headers: { host } })
  t.is((await by('rebound.example')).status, 421)
  t.is((await by('localhost:1')).status, 200)
})

test('openAdmin() refuses an address that others reach, and says which one is taken', async (t) => {
  await using opened = await open()
  const sources = {} as never
  const error = await t.throwsAsync(openAdmin({ ...FREE, admin: '0.0.0.0:0' }, sources), {
    instanceOf: ProxyError,
  })
  t.is(error?.code, 'PROXY_CONFIG_INVALID')
  const { svid, telemetry } = opened
  const session = { held: () => [], isConnected: () => true } as never
  const taken = { ...FREE, metrics: opened.addresses.metrics }
  const clash = await t.throwsAsync(
    openAdmin(taken, {
      workload: { namespace: 'n', name: 'w' },
      svid: svid.live,
      session,
      telemetry,
      health: () => ({ ready: true, reasons: [] }),
      clock: realClock,
      now: () => NOW,
      version: '',
    }),
    { instanceOf: ProxyError },
  )
  t.is(clash?.code, 'PROXY_LISTEN_FAILED')
  t.true(clash?.message.includes(opened.addresses.metrics))
})
