/** An agent for tests: real CA, real socket, real streams; a clock and callers that the test moves. */
import type { Socket } from 'node:net'
import { setTimeout as realSleep } from 'node:timers/promises'
import { type ClientReadableStream, credentials, Metadata, type ServiceError } from '@grpc/grpc-js'
import {
  type Agent,
  type AgentConfig,
  type AgentDeps,
  openAgent,
  type Rotation,
} from '#agent/index.ts'
import { SecretDiscoveryServiceClient } from '#agent/proto/gen/envoy/service/secret/v3/sds.ts'
import {
  SpiffeWorkloadAPIClient,
  type X509BundlesResponse,
  type X509SVIDResponse,
} from '#agent/proto/gen/workload.ts'
import { type AttestationConfig, type Ca, openCa, type ReviewToken } from '#ca/index.ts'
import type { SpiffeId } from '#ca/spiffe/index.ts'
import type { Clock } from '#core/clock.ts'
import {
  agentId,
  configIn,
  type LogEntry,
  newToken,
  temporaryDir,
  trustDomain,
  workloadId,
} from '#test/ca/harness.ts'
import { FakeClock } from '#test/fakes/fake-clock.ts'

/** When every story begins. */
const EPOCH = Temporal.Instant.from('2026-11-21T12:00:00Z')

export interface AgentStory extends AsyncDisposable {
  readonly clock: FakeClock
  readonly now: () => Temporal.Instant
  readonly agent: Agent
  /** What it was opened with; the join token is spent. */
  readonly config: AgentConfig
  readonly deps: AgentDeps
  /** A new join token. */
  readonly token: () => Promise<string>
  readonly rotations: readonly Rotation[]
  readonly log: readonly LogEntry[]
  /** The CA that runs now. */
  readonly ca: () => Ca
  readonly stopCa: () => Promise<void>
  /** On the same port, with the same state. */
  readonly startCa: () => Promise<void>
  /** Who everybody is from now on; `undefined`: nobody. */
  readonly callersAre: (id: SpiffeId | undefined) => void
  /** Sets the agent's clock apart from the CA's; positive: ahead of it. */
  readonly offsetAgent: (ms: number) => void
  /**
   * Moves time on in steps, with room for real sockets to work in between.
   *
   * @param stepMs - Longer ones where little happens. @default 250
   */
  readonly pass: (ms: number, stepMs?: number) => Promise<void>
}

export interface StoryOptions {
  /** @default PT16S */
  readonly leafTtl?: string
  /** @default PT24H */
  readonly caTtl?: string
  readonly config?: Partial<AgentConfig>
  readonly scope?: readonly string[]
  readonly joinToken?: 'none' | 'fresh'
  /** Whom the CA believes besides join tokens. */
  readonly attestation?: AttestationConfig
  readonly reviewToken?: ReviewToken
  readonly identify?: (socket: Socket, signal: AbortSignal) => Promise<SpiffeId | undefined>
  readonly clock?: Clock
}

export async function startStory(options: StoryOptions = {}): Promise<AgentStory> {
  const { leafTtl = 'PT16S', caTtl = 'PT24H', config, scope, joinToken: join = 'fresh' } = options
  await using opening = new AsyncDisposableStack()
  const clock = new FakeClock()
  const now = () => EPOCH.add({ milliseconds: Math.round(clock.nowMs()) })
  const log: LogEntry[] = []
  const deps = {
    clock,
    now,
    random: () => 0,
    log: (_: string, event: string, fields = {}) => void log.push({ event, fields }),
  }
  const dir = opening.use(await temporaryDir())
  let port = 0
  const start = () =>
    openCa(
      configIn(dir.path, {
        leafTtl: Temporal.Duration.from(leafTtl),
        caTtl: Temporal.Duration.from(caTtl),
        listen: { host: '127.0.0.1', port },
        ...(options.attestation && { attestation: options.attestation }),
      }),
      { ...deps, ...(options.reviewToken && { reviewToken: options.reviewToken }) },
    )
  let ca = await start()
  opening.defer(async () => ca[Symbol.asyncDispose]())
  port = Number(ca.address.split(':')[1])

  let caller: SpiffeId | undefined = workloadId
  const token = () => newToken(ca, scope, now().add({ hours: 1 }))
  const agentConfig: AgentConfig = {
    trustDomain,
    agentId,
    caAddress: ca.address,
    socketPath: `${dir.path}/agent.sock`,
    ...config,
  }
  let offsetMs = 0
  const agentDeps: AgentDeps = {
    ...deps,
    now: () => now().add({ milliseconds: offsetMs }),
    identify: options.identify ?? (async () => caller),
    caRoots: ca.bundle.current.roots,
  }
  const joinToken = join === 'fresh' ? { joinToken: await token() } : {}
  const agent = await openAgent({ ...agentConfig, ...joinToken }, agentDeps)
  opening.use(agent)
  const rotations: Rotation[] = []
  agent.onRotated((rotation) => rotations.push(rotation))

  const owned = opening.move()
  return {
    clock,
    now,
    agent,
    config: agentConfig,
    deps: agentDeps,
    token,
    rotations,
    log,
    ca: () => ca,
    stopCa: async () => ca[Symbol.asyncDispose](),
    async startCa() {
      ca = await start()
    },
    offsetAgent(ms) {
      offsetMs = ms
    },
    callersAre(id) {
      caller = id
    },
    async pass(ms, stepMs = STEP_MS) {
      for (let left = ms; left > 0; left -= stepMs) {
        await clock.advance(Math.min(left, stepMs))
        await realSleep(3)
      }
    },
    [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
  }
}

const STEP_MS = 250

/** Waits, in real time, until `holds` does. */
export async function until(holds: () => boolean, what = 'it'): Promise<void> {
  for (const endMs = performance.now() + 20_000; !holds(); await realSleep(2)) {
    if (performance.now() > endMs) throw new Error(`waited 20 s for ${what} in vain`)
  }
}

/** What a stream has said, and how it ended. */
export interface Heard<Message> {
  readonly stream: ClientReadableStream<Message>
  readonly messages: Message[]
  readonly newest: () => Message
  readonly failure: () => ServiceError | undefined
  readonly ended: () => boolean
}

export function hear<Message>(stream: ClientReadableStream<Message>): Heard<Message> {
  const messages: Message[] = []
  let failure: ServiceError | undefined
  let ended = false
  stream.on('data', (message: Message) => messages.push(message))
  stream.on('error', (cause: ServiceError) => {
    failure = cause
  })
  stream.on('end', () => {
    ended = true
  })
  return {
    stream,
    messages,
    newest() {
      const message = messages.at(-1)
      if (!message) throw new Error('the stream has said nothing')
      return message
    },
    failure: () => failure,
    ended: () => ended,
  }
}

const OPTIONS = { 'grpc.use_local_subchannel_pool': 1, 'grpc.enable_http_proxy': 0 }

/** A Workload API client with a connection of its own. */
export class WorkloadClient implements Disposable {
  readonly raw: SpiffeWorkloadAPIClient

  constructor({ socketPath }: Pick<Agent, 'socketPath'>) {
    this.raw = new SpiffeWorkloadAPIClient(
      `unix:${socketPath}`,
      credentials.createInsecure(),
      OPTIONS,
    )
  }

  svids(metadata: Metadata = securityHeader()): Heard<X509SVIDResponse> {
    return hear(this.raw.fetchX509Svid({}, metadata))
  }

  bundles(metadata: Metadata = securityHeader()): Heard<X509BundlesResponse> {
    return hear(this.raw.fetchX509Bundles({}, metadata))
  }

  [Symbol.dispose](): void {
    this.raw.close()
  }
}

export function securityHeader(value = 'true'): Metadata {
  const metadata = new Metadata()
  metadata.set('workload.spiffe.io', value)
  return metadata
}

/** An SDS client with a connection of its own. */
export function sdsClient({
  socketPath,
}: Pick<Agent, 'socketPath'>): { readonly raw: SecretDiscoveryServiceClient } & Disposable {
  const raw = new SecretDiscoveryServiceClient(
    `unix:${socketPath}`,
    credentials.createInsecure(),
    OPTIONS,
  )
  return { raw, [Symbol.dispose]: () => raw.close() }
}
