/**
 * The same authorizers, asked by a real Envoy that is configured as Istio does and by a sidecar: the
 * question, what the app gets and what the caller is told are the same.
 */
import { isDeepStrictEqual } from 'node:util'
import type { AuthorizationPolicy } from '#policy/model/index.ts'
import { temporaryDir } from '#test/ca/harness.ts'
import { openAsking } from '#test/fakes/fake-asking.ts'
import { openGrpcAuthorizer } from '#test/fakes/fake-authorizers.ts'
import type { CheckRequest } from '../../proxy/proto/gen/envoy/service/auth/v3/external_auth.ts'
import { envoyConfig } from './authorizers/envoy-config.ts'
import { exchange, type Message, ofOthers, openAnswering } from './authorizers/exchange.ts'
import { PROVIDERS, type Scenario, SCENARIOS } from './authorizers/scenarios.ts'
import { testWith } from './harness.ts'
import { startEnvoy } from './start-envoy.ts'

const CUSTOM: AuthorizationPolicy = {
  namespace: 'test',
  name: 'ask',
  action: 'CUSTOM',
  provider: 'gate',
  dryRun: false,
  rules: [{}],
}

const APP_ANSWER =
  'HTTP/1.1 200 OK\r\nx-app: 1\r\nx-two: 1\r\nx-two: 2\r\nset-cookie: app=1\r\ncontent-length: 2\r\n\r\nok'

const scenarioOf = (path: string): Scenario | undefined => {
  const name = Object.keys(SCENARIOS).find((one) => new RegExp(`/s-${one}(\\?|$)`).test(path))
  return name === undefined ? undefined : SCENARIOS[name]
}

testWith(
  'REDOUBT_ENVOY',
  '§1.11 Envoy and a sidecar ask authorizers alike, and do alike what they say',
  async (t, program) => {
    const app = await openAnswering(() => APP_ANSWER)
    const http = await openAnswering(({ line }) => {
      const says = scenarioOf(line.split(' ')[1] ?? '')?.says
      return typeof says === 'object' ? '' : says
    })
    const grpc = await openGrpcAuthorizer(({ attributes }) => {
      const says = scenarioOf(attributes?.request?.http?.path ?? '')?.says
      return typeof says === 'object' ? says : undefined
    })
    const providers = Object.entries(PROVIDERS)
    const upstreams = { app: app.address, http: http.address, grpc: grpc.address }
    const faults: object[] = []
    await using dir = await temporaryDir()
    await using envoy = await startEnvoy(program, dir.path, providers.length, (admin, ports) =>
      envoyConfig(
        providers.map(([, provider], at) => ({ port: ports[at] ?? 0, provider })),
        { admin, ...upstreams },
      ),
    )
    try {
      for (const [at, [name, provider]] of providers.entries()) {
        await using sidecar = await openAsking(app.address, {
          policies: [CUSTOM],
          providers: { gate: provider },
          places: {
            [`${provider.host}:${provider.port}`]:
              provider.kind === 'http' ? http.address : grpc.address,
          },
        })
        const own = Object.entries(SCENARIOS).filter(([, one]) => one.provider === name)
        for (const [title, scenario] of own) {
          const run = async (address: string) => {
            const before = [app.asked.length, http.asked.length, grpc.asked.length] as const
            const answer = await exchange(address, requestOf(title, scenario))
            const questions = [
              ...http.asked.slice(before[1]).map(ofOthers),
              ...grpc.asked.slice(before[2]).map(readQuestion),
            ]
            // A question that nobody answers may be put again.
            return {
              question: questions.slice(0, 1),
              app: app.asked.slice(before[0]).map(ofOthers),
              answer: { ...ofOthers(answer), line: statusOf(answer) },
            }
          }
          const theirs = await run(`127.0.0.1:${envoy.ports[at]}`)
          const ours = await run(sidecar.address)
          for (const part of ['question', 'app', 'answer'] as const) {
            const reason = scenario.differs?.[part]
            const isSame = isDeepStrictEqual(ours[part], theirs[part])
            if (isSame === (reason === undefined)) continue
            faults.push({ title, part, reason, ours: ours[part], theirs: theirs[part] })
          }
        }
      }
      if (process.env['REDOUBT_FAULTS'])
        t.log(
          JSON.stringify(faults, (_, value) => (typeof value === 'bigint' ? String(value) : value)),
        )
      t.deepEqual(faults.slice(0, 3), [], `${faults.length} differ`)
    } finally {
      for (const server of [app, http, grpc]) await server[Symbol.asyncDispose]()
    }
  },
)

/** Words beside the status are everybody's own. */
function statusOf({ line }: Message): string {
  return line.split(' ')[1] ?? ''
}

function requestOf(
  title: string,
  { method = 'GET', query = '', lines = [], body }: Scenario,
): string {
  const all = [
    'host: web.test',
    ...lines,
    ...(body === undefined ? [] : [`content-length: ${body.length}`]),
    'connection: close',
  ]
  return `${method} /s-${title}${query} HTTP/1.1\r\n${all.join('\r\n')}\r\n\r\n${body ?? ''}`
}

/** What of a question over gRPC is not the proxy's own. */
function readQuestion({ attributes }: CheckRequest): object {
  const { method, path, host, scheme, size, protocol, body, rawBody, headers } =
    attributes?.request?.http ?? {}
  const lines = Object.entries(headers ?? {}).map(([name, value]) => `${name}: ${value}`)
  const message = ofOthers({ line: '', lines: lines.toSorted(), body: '' })
  return { method, path, host, scheme, size, protocol, body, rawBody, headers: message.lines }
}
