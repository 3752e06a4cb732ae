/** A sidecar in plaintext whose policies ask providers; where the providers are is the test's. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createLive } from '#core/live.ts'
import type { AuthorizationPolicy, ExtensionProvider, InboundBundle } from '#policy/model/index.ts'
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

export interface AskingOptions {
  readonly policies: readonly AuthorizationPolicy[]
  readonly providers: Readonly<Record<string, ExtensionProvider>>
  /** Addresses by the provider's `host:port`. */
  readonly places: Readonly<Record<string, string>>
  readonly bundle?: Partial<InboundBundle>
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
  const place = (key: string, addresses: readonly string[]): void => {
    const [host = '', port = ''] = key.split(':')
    const [first] = cluster('').endpoints
    const endpoints = addresses.flatMap((address) =>
      first ? [{ ...first, address, tls: 'none' as const, identities: [] }] : [],
    )
    const name = `outbound|${port}||${host}`
    const known = destinationBundle(
      { [name]: cluster('', { endpoints }) },
      { host, port: Number(port) },
    )
    sidecar.destinations.set(key, createLive<Destination | undefined>(compiledDestination(known)))
  }
  for (const [key, address] of Object.entries(places)) place(key, [address])
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
  return {
    address: sidecar.plane.inbound[8080] ?? '',
    events: sidecar.events,
    metrics: () => sidecar.telemetry.render([]),
    async log() {
      await until(() => sidecar.log.length > 0)
      return lines()
    },
    async move(key, addresses) {
      place(key, addresses)
    },
    until,
    telemetryIsQuiet: () => lines().some(({ response_flags }) => response_flags === 'DC'),
    async [Symbol.asyncDispose]() {
      await sidecar[Symbol.asyncDispose]()
    },
  }
}
