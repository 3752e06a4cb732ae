import test from 'ava'
import fc from 'fast-check'
import { evaluateAuthorization, explainAuthorization } from '#policy/evaluate/index.ts'
import { connection, http, policies, trust } from '../random-authorization.ts'

const attempts = fc.tuple(connection, fc.option(http, { nil: undefined }))

test('explainAuthorization() finds a miss in every rule exactly where no rule matched', (t) => {
  const property = (): void =>
    fc.assert(
      fc.property(policies, trust, attempts, (list, domains, [peer, request]) => {
        return explainAuthorization({ policies: list, ...domains }, peer, request).every(
          ({ matched, rules }) =>
            matched === rules.some(({ miss }) => miss === null) &&
            rules.every((one) => one.matched === (one.miss === null)),
        )
      }),
      { numRuns: 500 },
    )
  t.notThrows(property)
})

test('explainAuthorization() lists misses exactly where there is a first one, and the fewest that there are', (t) => {
  fc.assert(
    fc.property(policies, trust, attempts, (list, domains, [peer, request]) => {
      return explainAuthorization({ policies: list, ...domains }, peer, request).every(
        ({ rules }) => rules.every(({ miss, misses }) => (miss === null) === (misses.length === 0)),
      )
    }),
    { numRuns: 500 },
  )
  const [explained] = explainAuthorization(
    {
      policies: [
        {
          namespace: 'app',
          name: 'p',
          action: 'ALLOW',
          dryRun: false,
          rules: [
            {
              to: [
                { methods: ['GET'], paths: ['/b'], hosts: ['x'] },
                { methods: ['PUT'], paths: ['/a'] },
              ],
              when: [{ key: 'destination.port', values: ['80', '81'] }],
            },
          ],
        },
      ],
      trustDomain: 'cluster.local' as never,
      trustDomainAliases: [],
    },
    { peer: undefined, sourceIp: '', destinationIp: '', destinationPort: 8080, sni: undefined },
    {
      method: 'GET',
      path: '/a',
      host: undefined,
      remoteIp: '',
      header: () => [],
      claims: undefined,
    },
  )
  t.deepEqual(
    explained?.rules[0]?.misses.map(({ field }) => field),
    ['to[1].operation.methods', 'when[0].values'],
  )
})

test('explainAuthorization() agrees with the decision: who decided has matched, who was considered has not', (t) => {
  const property = (): void =>
    fc.assert(
      fc.property(policies, trust, attempts, (list, domains, [peer, request]) => {
        const input = { policies: list, ...domains }
        const decision = evaluateAuthorization(input)(peer)(request)
        const explained = explainAuthorization(input, peer, request)
        const of = (name: string) => explained.find(({ policy }) => policy === name)
        if (decision.kind === 'allow') {
          const { policy, rule } = decision.permit
          return policy === null || of(policy)?.rules[rule ?? -1]?.miss === null
        }
        if (decision.kind === 'ask') return of(decision.policy)?.matched === true
        if (decision.policy !== null)
          return of(decision.policy)?.rules[decision.rule ?? -1]?.matched
        return decision.considered.every((name) => of(name)?.matched === false)
      }),
      { numRuns: 500 },
    )
  t.notThrows(property)
})

test('explainAuthorization() shows the alternative that got furthest, and all values of a header', (t) => {
  const input = {
    policies: [
      {
        namespace: 'app',
        name: 'p',
        action: 'ALLOW' as const,
        dryRun: false,
        rules: [
          {
            to: [{ methods: ['PUT'] }, { methods: ['GET'], paths: ['/b'] }],
          },
          { when: [{ key: 'request.headers[x]', values: ['v'], notValues: ['w'] }] },
          { from: [] },
        ],
      },
    ],
    trustDomain: 'cluster.local' as never,
    trustDomainAliases: [],
  }
  const asked = {
    method: 'GET',
    path: '/a',
    host: undefined,
    remoteIp: '10.0.0.1',
    header: () => ['v', 'w'],
    claims: undefined,
  }
  const plaintext = {
    peer: undefined,
    sourceIp: '10.0.0.1',
    destinationIp: '10.0.0.2',
    destinationPort: 80,
    sni: undefined,
  }
  const [explained] = explainAuthorization(input, plaintext, asked)
  t.like(
    explained?.rules.map(({ miss }) => miss),
    [
      { field: 'to[1].operation.paths', wanted: ['/b'], actual: ['/a'], reason: 'unmatched' },
      { field: 'when[0].notValues', wanted: ['w'], actual: ['v', 'w'], reason: 'unmatched' },
      { field: 'from', wanted: [], actual: [], reason: 'unmatched' },
    ],
  )
})
