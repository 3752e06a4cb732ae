/** The parts of a scenario's mesh that hold keys: the CA, and a node with an agent for each identity. */
import { join } from 'node:path'
import { openSvid } from '#agent/client/index.ts'
import { type Agent, openAgent, type Rotation } from '#agent/index.ts'
import { type Ca, listenTls, openCa, type TlsListener } from '#ca/index.ts'
import { serviceAccountId, type SpiffeId, type TrustDomain } from '#ca/spiffe/index.ts'
import type { Clock } from '#core/clock.ts'
import type { Log } from '#core/log.ts'
import type { PolicyServer } from '#policy/index.ts'
import { configIn, sha256 } from '#test/ca/harness.ts'

export interface ControlDeps {
  readonly clock: Clock
  readonly now: () => Temporal.Instant
  readonly random: () => number
  readonly log: Log
}

export interface ControlOptions {
  readonly dir: string
  readonly trustDomain: TrustDomain
  readonly leafTtl: Temporal.Duration
  /** Of the agents' own certificates. */
  readonly ownTtl: Temporal.Duration
}

/** The identity of one of the mesh's own processes. */
export function systemId(trustDomain: TrustDomain, serviceAccount: string): SpiffeId {
  return serviceAccountId(trustDomain, { namespace: 'redoubt-system', serviceAccount })
}

/** A CA that can be away: it comes back on the port and with the state that it had. */
export interface Authority extends AsyncDisposable {
  readonly current: () => Ca
  readonly stop: () => Promise<void>
  readonly start: () => Promise<void>
}

export async function startAuthority(
  { dir, trustDomain, leafTtl }: ControlOptions,
  deps: ControlDeps,
): Promise<Authority> {
  let port = 0
  const start = () =>
    openCa(
      configIn(join(dir, 'ca'), {
        trustDomain,
        leafTtl,
        caTtl: Temporal.Duration.from({ hours: 24 }),
        listen: { host: '127.0.0.1', port },
      }),
      deps,
    )
  let ca = await start()
  port = Number(ca.address.split(':')[1])
  return {
    current: () => ca,
    stop: async () => ca[Symbol.asyncDispose](),
    async start() {
      ca = await start()
    },
    [Symbol.asyncDispose]: async () => ca[Symbol.asyncDispose](),
  }
}

/** A node for each identity, whose agent answers everybody with it. */
export interface Nodes extends AsyncDisposable {
  readonly agentFor: (id: SpiffeId) => Promise<Agent>
  /** Ends the agent of `id` and, once `meanwhile` is over, starts another on its socket. */
  readonly restart: (id: SpiffeId, meanwhile: () => Promise<void>) => Promise<void>
  readonly rotations: ReadonlyMap<SpiffeId, readonly Rotation[]>
}

export function createNodes(
  { dir, trustDomain, ownTtl }: ControlOptions,
  authority: Authority,
  deps: ControlDeps,
): Nodes {
  const agents = new Map<SpiffeId, Promise<Agent>>()
  const rotations = new Map<SpiffeId, Rotation[]>()

  const nodes = new Map<SpiffeId, number>()
  let tokens = 0

  const openNode = async (id: SpiffeId, node: number): Promise<Agent> => {
    const ca = authority.current()
    tokens += 1
    const joinToken = sha256(`token ${tokens}`)
    const agentId = systemId(trustDomain, 'redoubt-agent')
    await ca.addJoinToken({
      tokenSha256: sha256(joinToken),
      agentId,
      scope: [`spiffe://${trustDomain}/*`],
      expiresAt: deps.now().add({ hours: 1 }),
    })
    const agent = await openAgent(
      {
        trustDomain,
        agentId,
        caAddress: ca.address,
        socketPath: join(dir, `${node}.sock`),
        joinToken,
        ownTtl,
      },
      { ...deps, identify: async () => id, caRoots: ca.bundle.current.roots },
    )
    const seen = rotations.get(id) ?? []
    rotations.set(id, seen)
    agent.onRotated((rotation) => seen.push(rotation))
    return agent
  }

  const agentFor = (id: SpiffeId): Promise<Agent> => {
    const node = nodes.get(id) ?? nodes.size
    nodes.set(id, node)
    const agent = agents.get(id) ?? openNode(id, node)
    agents.set(id, agent)
    return agent
  }

  return {
    agentFor,
    async restart(id, meanwhile) {
      const agent = await agents.get(id)
      agents.delete(id)
      await agent?.[Symbol.asyncDispose]()
      await meanwhile()
      await agentFor(id)
    },
    rotations,
    async [Symbol.asyncDispose]() {
      const opened = await Promise.allSettled(agents.values())
      const open = opened.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
      await Promise.all(open.map((agent) => agent[Symbol.asyncDispose]()))
    },
  }
}

/** Puts the policy server behind mTLS with an SVID of its own, as `deploy/run/policy.ts` does. */
export async function servePolicy(
  policy: PolicyServer,
  { socketPath }: Agent,
  deps: ControlDeps,
): Promise<TlsListener> {
  const ending = new AbortController()
  const svid = await openSvid({ socketPath, ...deps }, ending.signal)
  const listener = await listenTls({
    ...deps,
    listen: { host: '127.0.0.1', port: 0 },
    identity: () => svid.current,
    bundles: () => svid.current.bundles.slice(0, 1),
    clientCertificate: 'required',
    alpn: ['h2'],
    onConnection: (socket, peer) => {
      if (peer) policy.accept(socket, peer.id)
    },
  })
  void (async () => {
    for await (const _ of svid.changes(ending.signal)) listener.refresh()
  })()
  return {
    address: listener.address,
    refresh: listener.refresh,
    async [Symbol.asyncDispose]() {
      ending.abort()
      await listener[Symbol.asyncDispose]()
    },
  }
}
