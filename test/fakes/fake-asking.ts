/** A sidecar in plaintext whose policies ask providers; where the providers are is the test's. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createLive } from '#core/live.ts'
import type { SpiffeId } from '#ca/spiffe/index.ts'
import type {
  AuthorizationPolicy,
  Endpoint,
  ExtensionProvider,
  InboundBundle,
} from '#policy/model/index.ts'
import type { Destination } from '../../proxy/outbound/destination.ts'
import {
  cluster,
  compiledDestination,
  destinationBundle,
  inboundBundle,
  openFakeSidecar,
  SERVER_ID,
} from './fake-sidecars.ts'
import { createFakeIssuer } from './fake-svid.ts'

const AUTHORIZER_ID = 'spiffe://cluster.local/ns/test/sa/authorizer'

export interface AskingOptions {
  readonly policies: readonly AuthorizationPolicy[]
  readonly providers: Readonly<Record<string, ExtensionProvider>>
  /** Addresses by the provider's `host:port`. */
  readonly places: Readonly<Record<string, string>>
  readonly bundle?: Partial<InboundBundle>
  /** Puts a sidecar before each place, whose port is declared so and takes mutual TLS alone. */
  readonly guarded?: 'http' | 'grpc'
}

export interface OpenAsking extends AsyncDisposable {
  /** Of the sidecar's inbound port. */
  readonly address: string
  /** Lines of the access log by now. */
  readonly log: () => Promise<readonly Readonly<Record<string, unknown>>[]>
  readonly events: readonly { readonly event: string }[]
  readonly metrics: () => string
  /** Gives a provider other endpoints. */
  readonly move: (place: string, addresses: readonly string[]) => Promise<void>
  readonly until: (done: () => boolean) => Promise<void>
  /** Whether no request is open. */
  readonly telemetryIsQuiet: () => boolean
}

export async function openAsking(app: string, options: AskingOptions): Promise<OpenAsking> {
  const issuer = await createFakeIssuer()
  const { policies: authorization, providers, places, bundle } = options
  const plain = { mtls: 'DISABLE' } as const
  const sidecar = await openFakeSidecar({
    svid: await issuer.issue(SERVER_ID),
    app,
    bundle: inboundBundle({
      authorization,
      providers,
      ...plain,
      ports: [{ port: 8080, name: 'http', protocol: 'http', ...plain }],
      ...bundle,
    }),
  })
  await using opened = new AsyncDisposableStack()
  opened.use(sidecar)
  const guard = async (address: string): Promise<Endpoint> => {
    const [first] = cluster('').endpoints
    const workload = first?.workload ?? { namespace: '', name: '', serviceAccount: '', labels: {} }
    const { guarded: protocol } = options
    if (protocol === undefined) return { address, tls: 'none', identities: [], workload }
    const strict = { mtls: 'STRICT' } as const
    const ports = [{ port: 8080, name: protocol, protocol, ...strict }]
    const policy = { namespace: 'test', name: 'us', action: 'ALLOW', dryRun: false } as const
    const principals = [SERVER_ID.slice('spiffe://'.length)]
    const guards = opened.use(
      await openFakeSidecar({
        svid: await issuer.issue(AUTHORIZER_ID),
        app: address,
        bundle: inboundBundle({
          ...strict,
          ports,
          authorization: [{ ...policy, rules: [{ from: [{ principals }] }] }],
        }),
      }),
    )
    const identities = [AUTHORIZER_ID as SpiffeId]
    return { address: guards.plane.inbound[8080] ?? '', tls: 'mutual', identities, workload }
  }
  const place = async (key: string, addresses: readonly string[]): Promise<void> => {
    const [host = '', port = ''] = key.split(':')
    const endpoints = await Promise.all(addresses.map(guard))
    const clusters = { [`outbound|${port}||${host}`]: cluster('', { endpoints }) }
    const known = compiledDestination(
      destinationBundle(clusters, {
        host,
        port: Number(port),
        protocol: options.guarded ?? 'http',
      }),
    )
    sidecar.destinations.set(key, createLive<Destination | undefined>(known))
  }
  for (const [key, address] of Object.entries(places)) await place(key, [address])
  const until = async (done: () => boolean): Promise<void> => {
    for (let waited = 0; !done(); waited += 5) {
      if (waited > 5000) throw new Error('it has not happened within 5 s')
      await sleep(5)
    }
  }
  const lines = (): readonly Readonly<Record<string, unknown>>[] =>
    sidecar.log
      .flatMap((text) => text.split('\n').filter((line) => line !== ''))
      .map((line) => JSON.parse(line))
  const owned = opened.move()
  return {
    address: sidecar.plane.inbound[8080] ?? '',
    events: sidecar.events,
    metrics: () => sidecar.telemetry.render([]),
    async log() {
      await until(() => sidecar.log.length > 0)
      return lines()
    },
    move: place,
    until,
    telemetryIsQuiet: () => lines().some(({ response_flags }) => response_flags === 'DC'),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
