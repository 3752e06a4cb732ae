/**
 * Would this be let through? Asked of manifests alone, answered by the functions that assemble a
 * sidecar's bundle and by the engine that it runs.
 */
import { serviceAccountOf, type SpiffeId, trustDomainOf } from '#ca/spiffe/index.ts'
import { gatewayPortsOf } from '../assemble/gateway-ports.ts'
import { assembleInbound, targets } from '../assemble/inbound.ts'
import { withAssumedProviders } from '../assemble/providers.ts'
import { suggest } from '../dialects/suggest.ts'
import type { KeySetOf } from '../assemble/token-rules.ts'
import { compileAuthorization } from '../casbin/index.ts'
import {
  createMtlsDryRun,
  type Engine,
  type InboundBundle,
  type InboundPort,
  type Intent,
  type Workload,
} from '../model/index.ts'
import { type AskCasbin, createAskCasbin } from './ask-casbin.ts'
import { queryAtEdge } from './edge.ts'
import type { CheckQuery, CheckReason, CheckResult, QueryProtocol } from './query.ts'
import { readHttpRequest } from './request.ts'
import { type Answer, settle } from './settle.ts'

/**
 * Answers queries about one intent. It knows tokens by their claims alone; `createTokenChecker` verifies
 * those in headers. Bundles and engines are made at their first use and kept.
 */
export type Checker = (query: CheckQuery) => CheckResult

/** Answers one query; see {@link createChecker} for many. */
export function check(intent: Intent, query: CheckQuery): CheckResult {
  return createChecker(intent)(query)
}

/** A {@link Checker} for one intent. */
export function createChecker(intent: Intent): Checker {
  const prepare = createPreparer(intent)
  return (query) => {
    const prepared = prepare(query)
    return prepared.kind === 'settled' ? prepared.result : settle(prepared.attempt, query)
  }
}

/** What a query comes to: an attempt for the engine, or a result without it. */
export type Prepared = Attempted | { readonly kind: 'settled'; readonly result: CheckResult }

export interface Attempted {
  readonly kind: 'attempt'
  readonly attempt: Answer
  readonly bundle: InboundBundle
  /** Origin form with its query; '' on TCP. */
  readonly target: string
}

/** Turns queries into attempts, as the sidecar's inbound side does with connections and requests. */
export function createPreparer(
  intent: Intent,
  keySetOf: KeySetOf = () => undefined,
): (query: CheckQuery) => Prepared {
  const targetOf = createTargets(intent, keySetOf)
  return (query) => {
    const target = targetOf(query)
    if (target === undefined) {
      return settled('error', 'unknown-workload', { choices: meantWorkloads(intent, query.to) })
    }
    const { bundle, workload } = target
    if (!workload.sidecar) return settled('allow', 'no-sidecar', { mtlsMode: 'DISABLE' })
    const port = portOf(bundle, query.to.port)
    if (port === undefined) {
      const choices = bundle.ports.map((one) => String(one.port))
      return settled('error', 'port-needed', { mtlsMode: bundle.mtls, choices })
    }
    const mtlsMode = port.mtls
    const refusal = refusedAtHandshake(query.from, port, bundle)
    if (refusal !== undefined) return settled('deny', refusal, { mtlsMode })

    const sourceIp = query.sourceIp ?? sourceAddress(intent, query.from) ?? '127.0.0.1'
    const open = gatewayPortsOf(intent, workload).find((one) => one.port === port.port)
    const seen = open === undefined ? query : queryAtEdge(query, open, sourceIp)
    const sni = open?.servers[0]?.tls
      ? query.sni
      : query.from && (query.sni ?? sidecarSni(intent, port))
    const connection = {
      peer: query.from,
      sourceIp,
      destinationIp: query.destinationIp ?? '127.0.0.1',
      destinationPort: port.port,
      sni: sni?.toLowerCase(),
    }
    const engine = withMtlsDryRun(target.engine(), port)
    const { askCasbin } = target
    const attempt = { connection, mtlsMode, engine, token: undefined, askCasbin }
    const protocol = protocolOf(query, port)
    if (protocol === 'tcp') {
      // An HTTP port reads it, and finds no request in it (§2.4).
      if (isHttpPort(port)) return settled('deny', 'not-http', { mtlsMode, status: 400 })
      const opaque = { ...attempt, http: undefined, isGrpc: false }
      return { kind: 'attempt', bundle, attempt: opaque, target: '' }
    }
    const request = readHttpRequest({ ...seen, sourceIp }, protocol, bundle)
    if (request.kind === 'refused') {
      const { kind: _, ...refusal } = request
      return settled('deny', request.reason, { mtlsMode, ...refusal })
    }
    const { http, isGrpc, target: sent } = request
    return { kind: 'attempt', bundle, attempt: { ...attempt, http, isGrpc }, target: sent }
  }
}

interface Target {
  readonly workload: Workload
  readonly bundle: InboundBundle
  readonly engine: () => Engine
  readonly askCasbin: AskCasbin
}

function createTargets(
  intent: Intent,
  keySetOf: KeySetOf,
): (query: Pick<CheckQuery, 'to' | 'providers'>) => Target | undefined {
  const known = new Map<string, Target>()
  return ({ to: { namespace, name }, providers = {} }) => {
    const answered = Object.keys(providers).sort()
    const key = [`${namespace}/${name}`, ...answered].join()
    const found = known.get(key)
    if (found !== undefined) return found
    const workload = intent.workloads.find(
      (one) => one.namespace === namespace && one.name === name,
    )
    if (workload === undefined) return undefined
    const ports = workload.ports.map((port) => ({ ...port, address: '' }))
    const own = assembleInbound(intent, { ...workload, ports }, keySetOf)
    const bundle = withAssumedProviders(intent, own, answered)
    let engine: Engine | undefined
    const target: Target = {
      workload,
      bundle,
      askCasbin: createAskCasbin(bundle),
      engine: () => {
        engine ??= compileAuthorization({ ...bundle, policies: bundle.authorization })
        return engine
      },
    }
    known.set(key, target)
    return target
  }
}

/** The port asked for, declared or not (§2.4: others take the workload's mode and detect); else the only one. */
function portOf(bundle: InboundBundle, wanted: number | undefined): InboundPort | undefined {
  if (wanted === undefined) return bundle.ports.length === 1 ? bundle.ports[0] : undefined
  const { mtls, mtlsDryRun: tried } = bundle
  const own = { port: wanted, name: '', protocol: 'auto', mtls } as const
  const undeclared: InboundPort = tried === undefined ? own : { ...own, mtlsDryRun: tried }
  return bundle.ports.find(({ port }) => port === wanted) ?? undeclared
}

/** What PeerAuthentication and the TLS context refuse before any policy is asked (§1.9, §2.4). */
function refusedAtHandshake(
  from: SpiffeId | undefined,
  { mtls }: InboundPort,
  { trustDomain, trustDomainAliases }: InboundBundle,
): CheckReason | undefined {
  if (from === undefined) return mtls === 'STRICT' ? 'mtls-required' : undefined
  if (mtls === 'DISABLE') return 'mtls-disabled'
  return [trustDomain, ...trustDomainAliases].includes(trustDomainOf(from))
    ? undefined
    : 'untrusted-domain'
}

function isHttpPort({ protocol }: InboundPort): boolean {
  return protocol === 'http' || protocol === 'http2' || protocol === 'grpc'
}

/** As the sidecar tells what a PeerAuthentication that is tried out would have done. */
function withMtlsDryRun(engine: Engine, { mtlsDryRun }: InboundPort): Engine {
  if (mtlsDryRun === undefined) return engine
  const tell = createMtlsDryRun(mtlsDryRun)
  return (connection) => tell(engine(connection), connection)
}

/** A port declared TCP or TLS carries TCP whatever the caller speaks (§0.7). */
function protocolOf(query: CheckQuery, { protocol }: InboundPort): QueryProtocol {
  if (protocol === 'tcp' || protocol === 'tls') return 'tcp'
  if (query.protocol !== undefined) return query.protocol
  if (protocol === 'http') return 'http1'
  if (protocol !== 'auto') return protocol
  const { method, path, host, headers, claims } = query
  return (method ?? path ?? host ?? headers ?? claims) ? 'http1' : 'tcp'
}

/** Where the caller's sidecar connects from, if its account is that of one workload with an address of its own. */
function sourceAddress({ workloads }: Intent, from: SpiffeId | undefined): string | undefined {
  const account = from && serviceAccountOf(from)
  const callers = workloads.filter(
    ({ namespace, serviceAccount }) =>
      namespace === account?.namespace && serviceAccount === account.serviceAccount,
  )
  return callers.length === 1 ? callers[0]?.sourceAddress : undefined
}

/** What a client's sidecar sends: `outbound_.<service port>_._.<host>`. */
function sidecarSni({ services }: Intent, port: InboundPort): string | undefined {
  const service = services.find(({ host }) => host === port.service?.host)
  const own = service?.ports.find((candidate) => targets(candidate, port))
  return own && `outbound_.${own.port}_._.${service?.host}`
}

function settled(
  decision: CheckResult['decision'],
  reason: CheckReason,
  rest: Partial<CheckResult> = {},
): Prepared {
  return {
    kind: 'settled',
    result: {
      decision,
      status: null,
      action: 'none',
      policy: null,
      rule: null,
      reason,
      normalizedPath: null,
      mtlsMode: 'PERMISSIVE',
      dryRun: [],
      audit: [],
      ...rest,
    },
  }
}

/** The workload whose name is nearly that; else the first few that there are. */
function meantWorkloads(
  { workloads }: Intent,
  { namespace, name }: CheckQuery['to'],
): readonly string[] {
  const names = workloads.map((one) => `${one.namespace}/${one.name}`)
  const meant = suggest(`${namespace}/${name}`, names)
  return meant === undefined ? names.slice(0, 5) : [meant]
}
