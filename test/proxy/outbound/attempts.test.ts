import test from 'ava'
import fc from 'fast-check'
import type { Cluster, Endpoint } from '#policy/model/index.ts'
import { createBalancer } from '../../../proxy/outbound/balance.ts'
import { ClusterState, type EndpointState } from '../../../proxy/outbound/cluster-state.ts'
import { ProxyError } from '../../../proxy/error.ts'
import {
  type AttemptEnd,
  attemptCountLine,
  compileRetry,
  decideRetry,
  flagOfGivingUp,
  isRetriableAnswer,
} from '../../../proxy/outbound/retry.ts'
import { compileSplit, pickDestination } from '../../../proxy/outbound/split.ts'

/** Numbers in [0, 1), the same each run (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

test('pickDestination() gives each choice its share', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 6 }),
      fc.integer(),
      (weights, seed) => {
        const split = compileSplit(weights.map((weight, choice) => ({ weight, choice })))
        const random = seeded(seed)
        const total = weights.reduce((sum, weight) => sum + weight, 0)
        const counts = weights.map(() => 0)
        const draws = 20_000
        for (let draw = 0; draw < draws; draw += 1) {
          const choice = pickDestination(split, random)
          counts[choice] = (counts[choice] ?? 0) + 1
        }
        for (const [choice, weight] of weights.entries()) {
          const share = weight / total
          // Six standard deviations: a false alarm in some hundred million draws.
          const slack = 6 * Math.sqrt((share * (1 - share)) / draws)
          t.true(Math.abs((counts[choice] ?? 0) / draws - share) <= slack)
        }
      },
    ),
    { numRuns: 30 },
  )
})

test('pickDestination() meets the edges of each share exactly', (t) => {
  const split = compileSplit([
    { weight: 90, choice: 'v1' },
    { weight: 10, choice: 'v2' },
  ])
  const at = (random: number) => pickDestination(split, () => random)
  t.deepEqual([at(0), at(0.8999), at(0.9), at(0.999999)], ['v1', 'v1', 'v2', 'v2'])
})

test('pickDestination() draws nothing for one choice', (t) => {
  const split = compileSplit([{ weight: 1, choice: 'only' }])
  t.is(
    pickDestination(split, () => t.fail() as never),
    'only',
  )
})

// Retries.

const DEFAULT_ON = [
  'connect-failure',
  'refused-stream',
  'unavailable',
  'cancelled',
  'retriable-status-codes',
]
const answered = (status: number, grpcStatus?: number): AttemptEnd => ({
  kind: 'answered',
  status,
  ...(grpcStatus !== undefined && { grpcStatus }),
})
const reset = (mayHaveActed: boolean): AttemptEnd => ({ kind: 'reset', mayHaveActed })
const TIMED_OUT: AttemptEnd = { kind: 'try-timed-out' }

function decide(retryOn: readonly string[], end: AttemptEnd, change = {}) {
  return decideRetry({
    retry: compileRetry({ attempts: 2, retryOn, backoffMs: 25 }),
    attempts: 1,
    end,
    isReplayable: true,
    isWithinBudget: true,
    remainingMs: undefined,
    random: 0.5,
    ...change,
  })
}

/** Each row: conditions, what is retried under them, what is not (istio-semantics §5.8, Envoy's words). */
const conditions: readonly (readonly [
  readonly string[],
  readonly AttemptEnd[],
  readonly AttemptEnd[],
])[] = [
  [
    DEFAULT_ON,
    [
      { kind: 'connect', mayHaveActed: false },
      { kind: 'untrusted', mayHaveActed: false },
      reset(false),
      answered(200, 14),
      answered(200, 1),
    ],
    [answered(503), answered(500), answered(200, 13), reset(true), TIMED_OUT],
  ],
  [['503'], [answered(503)], [answered(502), answered(500), reset(true), reset(false)]],
  [['5xx'], [answered(500), answered(599), reset(true), TIMED_OUT], [answered(499), answered(409)]],
  [
    ['gateway-error'],
    [answered(502), answered(503), answered(504), reset(true), TIMED_OUT],
    [answered(500), answered(501)],
  ],
  [['reset'], [reset(true), reset(false), TIMED_OUT], [answered(503)]],
  [['reset-before-request'], [reset(false)], [reset(true), TIMED_OUT]],
  [['connect-failure'], [{ kind: 'connect', mayHaveActed: false }], [reset(true), answered(503)]],
  [['retriable-4xx'], [answered(409)], [answered(404), answered(429)]],
  [
    ['deadline-exceeded', 'internal', 'resource-exhausted'],
    [answered(200, 4), answered(200, 13), answered(200, 8)],
    [answered(200, 0), answered(200, 2), answered(200)],
  ],
  [['retriable-headers', 'envoy-ratelimited'], [], [answered(429), reset(true)]],
]

for (const [words, retried, final] of conditions) {
  test(`decideRetry() on ${words.join(',')}`, (t) => {
    for (const end of retried) t.is(decide(words, end).kind, 'retry', JSON.stringify(end))
    for (const end of final) {
      t.deepEqual(decide(words, end), { kind: 'give-up', reason: 'not-retriable' })
    }
  })
}

const WORDS =
  `5xx gateway-error reset reset-before-request connect-failure retriable-4xx refused-stream
  retriable-status-codes cancelled deadline-exceeded internal resource-exhausted unavailable 503
  404`.split(/\s+/)

test('decideRetry() sends what may have been acted on again only on a word that says so', (t) => {
  const words = fc.subarray(WORDS)
  const kinds = ['connect', 'untrusted', 'reset', 'protocol', 'closed'] as const
  fc.assert(
    fc.property(words, fc.constantFrom(...kinds), fc.boolean(), (retryOn, kind, mayHaveActed) => {
      const isRetried = decide(retryOn, { kind, mayHaveActed }).kind === 'retry'
      const saysSo = ['5xx', 'gateway-error', 'reset'].some((word) => retryOn.includes(word))
      const saysUntouched = ['reset-before-request', 'connect-failure', 'refused-stream'].some(
        (word) => retryOn.includes(word),
      )
      t.is(isRetried, saysSo || (!mayHaveActed && saysUntouched))
    }),
  )
})

test('decideRetry() never tries again against an open breaker', (t) => {
  t.is(decide(WORDS, { kind: 'overflow', mayHaveActed: false }).kind, 'give-up')
})

test('decideRetry() says why it gives up', (t) => {
  const end = answered(503)
  const reasonOf = (change: object) => decide(['503'], end, change)
  t.deepEqual(reasonOf({ attempts: 3 }), { kind: 'give-up', reason: 'attempts-used' })
  t.deepEqual(reasonOf({ isReplayable: false }), { kind: 'give-up', reason: 'body-gone' })
  t.deepEqual(reasonOf({ isWithinBudget: false }), { kind: 'give-up', reason: 'budget-used' })
  t.deepEqual(reasonOf({ remainingMs: 12 }), { kind: 'give-up', reason: 'no-time-left' })
})

test('decideRetry() never tries when the policy has no attempts', (t) => {
  const retry = compileRetry({ attempts: 0, retryOn: WORDS, backoffMs: 25 })
  t.is(decide([], answered(503), { retry }).kind, 'give-up')
})

test('decideRetry() waits by chance, twice as long each time, up to ten times the base', (t) => {
  const retry = compileRetry({ attempts: 20, retryOn: ['503'], backoffMs: 25 })
  const waits = [1, 2, 3, 4, 5, 10].map((attempts) => {
    const decision = decide([], answered(503), { retry, attempts, random: 1 - Number.EPSILON })
    return decision.kind === 'retry' ? Math.round(decision.waitMs) : undefined
  })
  t.deepEqual(waits, [25, 50, 100, 200, 250, 250])
  t.deepEqual(decide(['503'], answered(503), { random: 0 }), { kind: 'retry', waitMs: 0 })
})

test('compileRetry() refuses a condition that nobody knows', (t) => {
  for (const word of ['', '5XX', '600', 'resets', ' reset', 'toString']) {
    const error = t.throws(() => compileRetry({ attempts: 1, retryOn: [word], backoffMs: 25 }), {
      instanceOf: ProxyError,
    })
    t.is(error?.code, 'PROXY_CONFIG_INVALID')
  }
})

test('isRetriableAnswer() takes any status a peer could send', (t) => {
  const retry = compileRetry({ attempts: 1, retryOn: ['5xx', 'unavailable'], backoffMs: 25 })
  t.false(isRetriableAnswer(retry, 999, 99))
  t.false(isRetriableAnswer(retry, 200, Number.NaN))
  t.true(isRetriableAnswer(retry, 200, 14))
})

test('flagOfGivingUp() tells used attempts and a used budget apart from the rest', (t) => {
  const reasons = [
    'attempts-used',
    'budget-used',
    'not-retriable',
    'body-gone',
    'no-time-left',
  ] as const
  t.deepEqual(reasons.map(flagOfGivingUp), ['URX', 'UO', '', '', ''])
})

test('attemptCountLine() counts from one', (t) => {
  t.is(attemptCountLine(1), 'x-envoy-attempt-count: 1\r\n')
  t.is(attemptCountLine(3), 'x-envoy-attempt-count: 3\r\n')
})

// Balancing.

test('createBalancer() of least requests keeps everyone about as busy', (t) => {
  const balance = createBalancer('LEAST_REQUEST', seeded(1))
  const endpoints = Array.from({ length: 10 }, () => ({ active: 0 }))
  for (let request = 0; request < 1000; request += 1) {
    const picked = balance(endpoints)
    if (picked !== undefined) picked.active += 1
  }
  const active = endpoints.map((one) => one.active)
  t.true(Math.max(...active) - Math.min(...active) <= 8, String(active))
})

test('createBalancer() of least requests never takes the busier of two', (t) => {
  const balance = createBalancer('LEAST_REQUEST', seeded(2))
  const idle = { active: 0 }
  for (let draw = 0; draw < 100; draw += 1) t.is(balance([{ active: 1 }, idle]), idle)
})

test('createBalancer() of round robin takes all in turn, from anywhere', (t) => {
  const endpoints = ['a', 'b', 'c'].map((name) => ({ name, active: 0 }))
  const starts = new Set<string | undefined>()
  for (let seed = 0; seed < 20; seed += 1) {
    const balance = createBalancer('ROUND_ROBIN', seeded(seed))
    const names = Array.from({ length: 6 }, () => balance(endpoints)?.name)
    starts.add(names[0])
    t.deepEqual(names.slice(3), names.slice(0, 3))
    t.is(new Set(names).size, 3)
  }
  t.is(starts.size, 3)
})

test('createBalancer() of chance reaches everyone', (t) => {
  const balance = createBalancer('RANDOM', seeded(3))
  const endpoints = Array.from({ length: 5 }, () => ({ active: 0 }))
  const reached = new Set(Array.from({ length: 200 }, () => balance(endpoints)))
  t.is(reached.size, 5)
})

for (const kind of ['LEAST_REQUEST', 'ROUND_ROBIN', 'RANDOM'] as const) {
  test(`createBalancer() of ${kind} finds nobody among none, and the one there is`, (t) => {
    const balance = createBalancer(kind, seeded(4))
    const one = { active: 7 }
    t.is(balance([]), undefined)
    t.is(balance([one]), one)
  })
}

// Clusters.

const byName = (a: string, b: string): number => a.localeCompare(b)

function endpoint(address: string): Endpoint {
  const workload = { namespace: 'n', name: 'w', serviceAccount: 'a', labels: {} }
  return { address, tls: 'none', identities: [], workload }
}

function cluster(change: Partial<Cluster> = {}): Cluster {
  return {
    service: { host: 'h', name: 'h', namespace: 'n' },
    subset: '',
    loadBalancing: 'ROUND_ROBIN',
    connectionPool: {
      maxConnections: 10,
      connectTimeoutMs: 1000,
      maxPendingRequests: 10,
      maxRequests: 10,
      maxRequestsPerConnection: 0,
      idleTimeoutMs: 1000,
    },
    outlierDetection: {
      consecutive5xxErrors: 3,
      consecutiveGatewayErrors: 0,
      intervalMs: 10_000,
      baseEjectionTimeMs: 30_000,
      maxEjectionPercent: 50,
    },
    sni: 's',
    endpoints: [endpoint('a:1'), endpoint('b:1'), endpoint('c:1')],
    ...change,
  }
}

function openCluster(change: Partial<Cluster> = {}) {
  const time = { nowMs: 0 }
  const state = new ClusterState('c', cluster(change), {
    nowMs: () => time.nowMs,
    random: seeded(5),
  })
  const fail = (one: EndpointState | undefined, times = 3, status = 500) => {
    for (let at = 0; at < times; at += 1) {
      if (one === undefined) throw new Error('expected an endpoint')
      state.begin(one)
      state.end(one, status)
    }
  }
  const reached = () =>
    new Set(Array.from({ length: 30 }, () => state.pick()?.endpoint.address ?? 'nobody'))
  return { state, time, fail, reached }
}

test('ClusterState leaves an ejected endpoint alone until its time is over', (t) => {
  const { state, time, fail, reached } = openCluster()
  fail(state.endpoints[0])
  t.deepEqual([...reached()].sort(byName), ['b:1', 'c:1'])
  time.nowMs = 29_999
  t.deepEqual([...reached()].sort(byName), ['b:1', 'c:1'])
  time.nowMs = 30_000
  t.deepEqual([...reached()].sort(byName), ['a:1', 'b:1', 'c:1'])
})

test('ClusterState ejects no more than the share that may be ejected', (t) => {
  const { state, fail, reached } = openCluster()
  for (const one of state.endpoints) fail(one)
  t.is(reached().size, 2)
})

test('ClusterState has nobody to pick when all may be ejected and are: no panic mode', (t) => {
  const outlierDetection = { ...cluster().outlierDetection, maxEjectionPercent: 100 } as never
  const { state, fail } = openCluster({ outlierDetection })
  for (const one of state.endpoints) fail(one)
  t.is(state.pick(), undefined)
  t.is(state.pick([]), undefined)
})

test('ClusterState holds nothing against an endpoint whose client went away', (t) => {
  const { state, fail, reached } = openCluster()
  fail(state.endpoints[0], 10, -1)
  t.is(reached().size, 3)
  t.is(state.endpoints[0]?.active, 0)
})

test('ClusterState counts no answer as a gateway error', (t) => {
  const outlierDetection = {
    ...cluster().outlierDetection,
    consecutive5xxErrors: 0,
    consecutiveGatewayErrors: 2,
  } as never
  const { state, fail, reached } = openCluster({ outlierDetection })
  fail(state.endpoints[0], 2, 0)
  fail(state.endpoints[1], 2, 500)
  t.deepEqual([...reached()].sort(byName), ['b:1', 'c:1'])
})

test('ClusterState passes over an endpoint that could not be reached, unless none could', (t) => {
  const { state, time, reached } = openCluster({ outlierDetection: undefined } as never)
  const [a, b, c] = state.endpoints as readonly [EndpointState, EndpointState, EndpointState]
  state.rest(a)
  t.deepEqual([...reached()].sort(byName), ['b:1', 'c:1'])
  t.is(state.pick([b, c])?.endpoint.address !== undefined, true)
  time.nowMs = 999
  t.is(reached().size, 2)
  time.nowMs = 1000
  t.is(reached().size, 3)
  for (const one of [a, b, c]) state.rest(one)
  t.is(reached().size, 3)
})

test('ClusterState tries another endpoint first, and the same when there is no other', (t) => {
  const { state } = openCluster()
  const [a, b, c] = state.endpoints as readonly [EndpointState, EndpointState, EndpointState]
  for (let at = 0; at < 20; at += 1) t.is(state.pick([a, b]), c)
  t.true([a, b, c].includes(state.pick([a, b, c]) as EndpointState))
})

test('ClusterState.update() keeps what has not changed and closes what has gone', (t) => {
  const { state, fail, reached } = openCluster()
  const [a, b] = state.endpoints
  const closed: string[] = []
  for (const one of state.endpoints) {
    one.hop = { close: () => closed.push(one.endpoint.address) } as never
  }
  fail(a)
  state.update(cluster({ endpoints: [endpoint('a:1'), endpoint('b:1'), endpoint('d:1')] }))
  t.deepEqual(closed, ['c:1'])
  t.is(state.endpoints[0], a)
  t.is(state.endpoints[1], b)
  t.deepEqual([...reached()].sort(byName), ['b:1', 'd:1'])
})

test('ClusterState.update() opens new ways when how to reach an endpoint changes', (t) => {
  const { state } = openCluster()
  const [a] = state.endpoints
  state.update(cluster({ sni: 'other' }))
  t.not(state.endpoints[0], a)
  state.update(cluster({ sni: 'other', endpoints: [{ ...endpoint('a:1'), tls: 'mutual' }] }))
  t.is(state.endpoints.length, 1)
})

test('ClusterState.update() takes the new limit and way to balance, and lets all in without detection', (t) => {
  const { state, fail, reached } = openCluster()
  fail(state.endpoints[0])
  const { outlierDetection: _, ...without } = cluster()
  const connectionPool = { ...without.connectionPool, maxRequests: 1 }
  state.update({ ...without, connectionPool, loadBalancing: 'RANDOM' })
  t.is(reached().size, 3)
  t.true(state.requests.enter())
  t.false(state.requests.enter())
})

test('ClusterState.retire() closes every way and leaves nobody to pick', (t) => {
  const { state } = openCluster()
  let closed = 0
  for (const one of state.endpoints) one.hop = { close: () => (closed += 1) } as never
  state.retire()
  t.is(closed, 3)
  t.is(state.pick(), undefined)
})

test('ClusterState.mayRetry() keeps retries to three, or a fifth of what is in flight', (t) => {
  const { state } = openCluster({
    connectionPool: { ...cluster().connectionPool, maxRequests: 100 },
  })
  state.retries = 3
  t.false(state.mayRetry())
  for (let at = 0; at < 20; at += 1) state.requests.enter()
  t.true(state.mayRetry())
})
