/** Bodies of the policy stream into what the request path calls. */
import type { Authenticate } from '#ca/jwt/request/index.ts'
import { type CompileMemory, compileAuthorization } from '#policy/casbin/index.ts'
import {
  type Cluster,
  type InboundBundle,
  type Route,
  parseDestinationBundle,
  parseInboundBundle,
} from '#policy/model/index.ts'
import type { Providers } from '../authorizer/providers.ts'
import { parseAddress } from '../config.ts'
import { type ClusterDeps, ClusterState } from '../outbound/cluster-state.ts'
import { type CompileRegex, loadRegex } from '../outbound/match-text.ts'
import { compileRoutes, needsRegex } from '../outbound/route.ts'
import type { CompiledDestination, CompiledInbound } from './compiled.ts'

/** A resource that stands ready: nothing has changed until `commit` puts it in force. */
export interface Prepared<T> {
  readonly compiled: T
  readonly commit: () => void
}

/** @throws {PolicyError} on a body that is not a bundle; whatever compiling its policies throws */
export async function compileInbound(
  body: Uint8Array,
  version: string,
  deps: {
    readonly now: () => Temporal.Instant
    /** What the generation before compiled; left out: nothing. */
    readonly memory?: CompileMemory
    /** The keys of an issuer are not all there; '' for a rule without. @default nothing */
    readonly onKeysWanted?: (issuer: string) => void
  },
): Promise<CompiledInbound> {
  const bundle = parseInboundBundle(body)
  return {
    bundle,
    version,
    engine: compileAuthorization(
      { ...bundle, policies: bundle.authorization },
      engineOptions(deps),
    ),
    authenticate: await compileTokens(bundle, deps),
    providers: await compileAsked(bundle),
  }
}

function engineOptions({ memory }: { readonly memory?: CompileMemory }) {
  return memory === undefined ? {} : { memory }
}

/** Most sidecars ask nobody, and then nothing that asks is loaded. */
async function compileAsked({ providers }: InboundBundle): Promise<Providers | undefined> {
  if (Object.keys(providers).length === 0) return undefined
  return (await import('../authorizer/compile.ts')).compileProviders(providers)
}

/** Most sidecars have no rules for tokens, and then nothing that verifies them is loaded. */
async function compileTokens(
  { tokenRules }: InboundBundle,
  {
    now,
    onKeysWanted,
  }: {
    readonly now: () => Temporal.Instant
    readonly onKeysWanted?: (issuer: string) => void
  },
): Promise<Authenticate | undefined> {
  if (tokenRules.length === 0) return undefined
  const { compileTokenRules } = await import('#ca/jwt/request/index.ts')
  return compileTokenRules(tokenRules, {
    now,
    onUnknownKey: ({ issuer = '' }) => onKeysWanted?.(issuer),
  })
}

/**
 * Compiles a destination. Clusters that `previous` has are carried on by `commit`, not before: a
 * bundle that does not compile leaves them as they are.
 *
 * @throws {PolicyError} on a body that is not a bundle
 * @throws {ProxyError} `PROXY_CONFIG_INVALID` on a route or an endpoint that cannot be used
 */
export async function prepareDestination(
  resource: { readonly body: Uint8Array; readonly version: string },
  previous: CompiledDestination | undefined,
  deps: ClusterDeps,
): Promise<Prepared<CompiledDestination>> {
  const bundle = parseDestinationBundle(resource.body)
  const known = previous?.clusters ?? new Map<string, ClusterState>()
  const named = bundle.kind === 'known' ? bundle.clusters : {}
  const clusters = clustersOf(named, known, deps)
  const routes = bundle.kind === 'known' ? bundle.routes : []
  const regex = await regexFor(routes)
  const pickRoute = compileRoutes(routes, { clusters, regex, scheme: 'http' })
  return {
    compiled: { bundle, version: resource.version, pickRoute, clusters },
    commit: () => carryOn(named, known, clusters),
  }
}

type Clusters = Readonly<Record<string, Cluster>>

/** The engine for what `routes` match, loaded when one of them needs it. */
export async function regexFor(routes: readonly Route[]): Promise<CompileRegex> {
  return needsRegex(routes) ? await loadRegex() : noRegex
}

/**
 * The state of each of `named`: that of `known` where there is one.
 *
 * @throws {ProxyError} `PROXY_CONFIG_INVALID` on an endpoint that cannot be used
 */
export function clustersOf(
  named: Clusters,
  known: ReadonlyMap<string, ClusterState>,
  deps: ClusterDeps,
): ReadonlyMap<string, ClusterState> {
  const clusters = new Map<string, ClusterState>()
  for (const [name, cluster] of Object.entries(named)) {
    for (const { address } of cluster.endpoints) parseAddress(address)
    clusters.set(name, known.get(name) ?? new ClusterState(name, cluster, deps))
  }
  return clusters
}

/** Puts `named` in force: what `known` has goes on in `clusters`, what is named no more ends. */
export function carryOn(
  named: Clusters,
  known: ReadonlyMap<string, ClusterState>,
  clusters: ReadonlyMap<string, ClusterState>,
): void {
  for (const [name, state] of known) {
    const cluster = Object.hasOwn(named, name) ? named[name] : undefined
    if (cluster !== undefined) clusters.get(name)?.update(cluster)
    else state.retire()
  }
}

const noRegex: CompileRegex = (pattern) => {
  throw new Error(`no engine was loaded for ${JSON.stringify(pattern)}`)
}
