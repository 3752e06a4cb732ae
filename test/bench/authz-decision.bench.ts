/**
 * What a decision costs: the same request again (from memory) and one never seen (Casbin evaluates
 * its lines), with 1,000 policies in the namespace, all of which apply to the workload.
 * Budget (design.md §5): 1 µs and 20 µs.
 *
 *     node test/bench/authz-decision.bench.ts
 */
import { Bench } from 'tinybench'
import { parseSpiffeId, parseTrustDomain } from '#ca/spiffe/index.ts'
import { compileAuthorization } from '#policy/casbin/index.ts'
import { evaluateAuthorization } from '#policy/evaluate/index.ts'
import type {
  AuthorizationPolicy,
  Connection,
  Engine,
  HttpAttributes,
  Rule,
} from '#policy/model/index.ts'

const trustDomain = parseTrustDomain('cluster.local')
const connection: Connection = {
  peer: parseSpiffeId('spiffe://cluster.local/ns/app/sa/client-500'),
  sourceIp: '10.0.0.1',
  destinationIp: '10.0.0.2',
  destinationPort: 8080,
  sni: undefined,
}
const request = (path: string): HttpAttributes => ({
  method: 'GET',
  path,
  host: 'web.app',
  remoteIp: '10.0.0.1',
  header: () => [],
  claims: undefined,
})

const policiesOf = (count: number, rule: (index: number) => Rule): AuthorizationPolicy[] =>
  Array.from({ length: count }, (_, index) => ({
    namespace: 'app',
    name: `p${index}`,
    action: index % 10 === 0 ? 'DENY' : 'ALLOW',
    dryRun: false,
    rules: [rule(index)],
  }))

/** Each policy names its own client; one request line in twenty paths. */
const byClient = (index: number): Rule => ({
  from: [{ principals: [`cluster.local/ns/app/sa/client-${index + 1}`] }],
  to: [{ methods: ['GET'], paths: [`/api/${index % 20}/*`, '/items/*'] }],
})
/** The worst that narrowing can meet: every policy is for every client, told apart by path alone. */
const byPath = (index: number): Rule => ({ to: [{ methods: ['GET'], paths: [`/api/${index}/*`] }] })

const SETS = {
  '10 policies, by client': { policies: policiesOf(10, (n) => byClient(n + 495)), path: '/items/' },
  '1,000 policies, by client': { policies: policiesOf(1000, byClient), path: '/items/' },
  '1,000 policies, by path only': { policies: policiesOf(1000, byPath), path: '/api/999/' },
}

const bench = new Bench({ time: 400, warmupTime: 100 })
const input = (policies: readonly AuthorizationPolicy[]) => ({
  policies,
  trustDomain,
  trustDomainAliases: [],
})
let serial = 0
for (const [name, { policies, path }] of Object.entries(SETS)) {
  const engine: Engine = compileAuthorization(input(policies))
  const decide = engine(connection)
  const again = request(`${path}same`)
  const kind = decide(again).kind
  bench.add(`${name}: repeated (${kind})`, () => decide(again))
  bench.add(`${name}: first seen`, () => {
    serial += 1
    return decide(request(`${path}${serial}`))
  })
  bench.add(`${name}: accept, then decide`, () => engine(connection)(again))
  bench.add(`${name}: compile`, () => compileAuthorization(input(policies)))
}
const plain = evaluateAuthorization(input(SETS['1,000 policies, by client'].policies))(connection)
bench.add('1,000 policies, by client: plain evaluator', () => plain(request('/items/same')))

await bench.run()
console.table(
  bench.tasks.map(({ name, result }) => {
    const latency = result.state === 'completed' ? result.latency : undefined
    const us = (ms: number | undefined) =>
      ms === undefined ? 'failed' : Number((ms * 1000).toFixed(2))
    return {
      name,
      'µs mean': us(latency?.mean),
      'µs p50': us(latency?.p50),
      'µs p99': us(latency?.p99),
    }
  }),
)
