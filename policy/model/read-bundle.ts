/**
 * Strict reading of a stream resource's `body`. A key that is not known, a key that is missing and
 * a format that is not ours are all refused: the sidecar then NACKs and keeps its last good bundle,
 * instead of serving a policy that it only half understood.
 *
 * Long because it is one reader for each type of bundle.ts, in the same order.
 */
import {
  type SpiffeId,
  parseSpiffeId,
  parseTrustDomain,
  type TrustDomain,
} from '#ca/spiffe/index.ts'
import { PolicyError } from '../error.ts'
import {
  BUNDLE_FORMAT,
  type ClaimMatch,
  type Cluster,
  type ConnectionPool,
  type DestinationBundle,
  type Endpoint,
  type HeaderOperations,
  type InboundBundle,
  type InboundPort,
  type MtlsDryRun,
  type MtlsMode,
  type OutlierDetection,
  type RetryPolicy,
  type Route,
  type RouteAction,
  type RouteHeaders,
  type RouteMatch,
  type ServiceRef,
  type TextMatch,
  type WeightedDestination,
  type WorkloadRef,
} from './bundle.ts'
import { extensionProvider } from './extension-provider.ts'
import { authorizationPolicy } from './read-authorization.ts'
import {
  bool,
  list,
  map,
  object,
  oneOf,
  optional,
  parsed,
  type Reader,
  type Shape,
  tagged,
  text,
  whole,
} from './read-json.ts'
import type {
  GatewayBundle,
  GatewayListener,
  GatewayServer,
  GatewayTls,
  PemSource,
  VirtualHost,
} from './gateway.ts'
import { tokenRule } from './token-rule.ts'

/** Bytes; a larger body is refused unread. */
export const MAX_BUNDLE_BYTES: number = 16 * 1024 * 1024

const MAX_INT = Number.MAX_SAFE_INTEGER

const spiffeId: Reader<SpiffeId> = parsed(parseSpiffeId)
const trustDomain: Reader<TrustDomain> = parsed(parseTrustDomain)
const port = whole(1, 65535)
const count = whole(0, MAX_INT)
const texts = list(text)
const labels = map(text)
const mtlsMode: Reader<MtlsMode> = oneOf(['STRICT', 'PERMISSIVE', 'DISABLE'])
const protocol = oneOf(['http', 'http2', 'grpc', 'tcp', 'tls', 'auto'])

const workloadRef: Reader<WorkloadRef> = object<WorkloadRef>({
  namespace: text,
  name: text,
  serviceAccount: text,
  labels,
})
const serviceRef: Reader<ServiceRef> = object<ServiceRef>({
  host: text,
  name: text,
  namespace: text,
})

// Inbound

const mtlsDryRun: Reader<MtlsDryRun> = object<MtlsDryRun>({ mode: mtlsMode, policy: text })

const inboundPort: Reader<InboundPort> = object<InboundPort>({
  port,
  name: text,
  protocol,
  mtls: mtlsMode,
  mtlsDryRun: optional(mtlsDryRun),
  service: optional(serviceRef),
})

const inboundBundle: Reader<InboundBundle> = object<InboundBundle>({
  format: count,
  workload: workloadRef,
  trustDomain,
  trustDomainAliases: list(trustDomain),
  pathNormalization: oneOf(['NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES']),
  mtls: mtlsMode,
  mtlsDryRun: optional(mtlsDryRun),
  ports: list(inboundPort),
  authorization: list(authorizationPolicy),
  providers: map(extensionProvider),
  tokenRules: list(tokenRule),
  outboundPolicy: oneOf(['ALLOW_ANY', 'REGISTRY_ONLY']),
})

// Destination: routes

const withValue = <K extends 'exact' | 'prefix' | 'regex'>(
  kind: K,
): Reader<{ readonly kind: K; readonly value: string }> =>
  object<{ readonly kind: K; readonly value: string }>({
    kind: oneOf([kind]),
    value: text,
  } as Shape<{
    readonly kind: K
    readonly value: string
  }>)

const textMatch: Reader<TextMatch> = tagged<TextMatch>({
  exact: withValue('exact'),
  prefix: withValue('prefix'),
  regex: withValue('regex'),
  present: object<{ readonly kind: 'present' }>({ kind: oneOf(['present']) }),
})

const claimMatch: Reader<ClaimMatch> = object<ClaimMatch>({
  path: list(text, 1),
  match: textMatch,
})

const routeMatch: Reader<RouteMatch> = object<RouteMatch>({
  name: optional(text),
  uri: optional(textMatch),
  ignoreUriCase: optional(bool),
  scheme: optional(textMatch),
  method: optional(textMatch),
  authority: optional(textMatch),
  headers: optional(map(textMatch)),
  withoutHeaders: optional(map(textMatch)),
  queryParams: optional(map(textMatch)),
  claims: optional(list(claimMatch)),
  withoutClaims: optional(list(claimMatch)),
})

const headerOperations: Reader<HeaderOperations> = object<HeaderOperations>({
  set: optional(labels),
  add: optional(labels),
  remove: optional(texts),
})

const routeHeaders: Reader<RouteHeaders> = object<RouteHeaders>({
  request: optional(headerOperations),
  response: optional(headerOperations),
})

const retryPolicy: Reader<RetryPolicy> = object<RetryPolicy>({
  attempts: count,
  perTryTimeoutMs: optional(count),
  retryOn: texts,
  backoffMs: count,
})

const weightedDestination: Reader<WeightedDestination> = object<WeightedDestination>({
  cluster: text,
  weight: whole(1, MAX_INT),
  headers: optional(routeHeaders),
})

type Forward = Extract<RouteAction, { readonly kind: 'forward' }>
type Redirect = Extract<RouteAction, { readonly kind: 'redirect' }>
type Respond = Extract<RouteAction, { readonly kind: 'respond' }>
type Rewrite = NonNullable<Forward['rewrite']>

const routeAction: Reader<RouteAction> = tagged<RouteAction>({
  forward: object<Forward>({
    kind: oneOf(['forward']),
    destinations: list(weightedDestination, 1),
    rewrite: optional(object<Rewrite>({ uri: optional(text), authority: optional(text) })),
    timeoutMs: optional(count),
    retry: retryPolicy,
  }),
  redirect: object<Redirect>({
    kind: oneOf(['redirect']),
    code: whole(300, 399),
    uri: optional(text),
    authority: optional(text),
    scheme: optional(text),
  }),
  respond: object<Respond>({ kind: oneOf(['respond']), status: whole(200, 600), body: text }),
})

const route: Reader<Route> = object<Route>({
  name: text,
  match: optional(list(routeMatch)),
  action: routeAction,
  headers: optional(routeHeaders),
})

// Destination: clusters

const connectionPool: Reader<ConnectionPool> = object<ConnectionPool>({
  maxConnections: count,
  connectTimeoutMs: count,
  maxPendingRequests: count,
  maxRequests: count,
  maxRequestsPerConnection: count,
  idleTimeoutMs: count,
})

const outlierDetection: Reader<OutlierDetection> = object<OutlierDetection>({
  consecutiveGatewayErrors: count,
  consecutive5xxErrors: count,
  intervalMs: whole(1, MAX_INT),
  baseEjectionTimeMs: count,
  maxEjectionPercent: whole(0, 100),
})

const endpointFields: Reader<Endpoint> = object<Endpoint>({
  address: text,
  tls: oneOf(['mutual', 'none']),
  identities: list(spiffeId),
  workload: workloadRef,
})

/** Mutual TLS towards nobody in particular would accept anyone: refused here, not in the data path. */
const endpoint: Reader<Endpoint> = (value, at) => {
  const read = endpointFields(value, at)
  if (read.tls === 'mutual') list(spiffeId, 1)(read.identities, `${at}/identities`)
  return read
}

const cluster: Reader<Cluster> = object<Cluster>({
  service: serviceRef,
  subset: text,
  loadBalancing: oneOf(['LEAST_REQUEST', 'ROUND_ROBIN', 'RANDOM']),
  connectionPool,
  outlierDetection: optional(outlierDetection),
  sni: text,
  endpoints: list(endpoint),
})

type Known = Extract<DestinationBundle, { readonly kind: 'known' }>
type Unknown = Extract<DestinationBundle, { readonly kind: 'unknown' }>

const destinationBundle: Reader<DestinationBundle> = tagged<DestinationBundle>({
  unknown: object<Unknown>({ format: count, kind: oneOf(['unknown']) }),
  known: object<Known>({
    format: count,
    kind: oneOf(['known']),
    host: text,
    port,
    protocol,
    routes: list(route),
    clusters: map(cluster),
  }),
})

// Gateway

const virtualHost: Reader<VirtualHost> = object<VirtualHost>({ host: text, routes: list(route) })

type Pem<K extends PemSource['kind']> = Extract<PemSource, { readonly kind: K }>

const pemSource: Reader<PemSource> = tagged<PemSource>({
  file: object<Pem<'file'>>({ kind: oneOf(['file']), path: text }),
  inline: object<Pem<'inline'>>({ kind: oneOf(['inline']), pem: text }),
  missing: object<Pem<'missing'>>({ kind: oneOf(['missing']), secret: text }),
})

const gatewayTls: Reader<GatewayTls> = object<GatewayTls>({
  mode: oneOf(['SIMPLE', 'MUTUAL', 'OPTIONAL_MUTUAL']),
  subjectAltNames: texts,
  minVersion: oneOf(['TLSv1.2', 'TLSv1.3']),
  maxVersion: oneOf(['TLSv1.2', 'TLSv1.3']),
  cipherSuites: texts,
  certificates: list(
    object<GatewayTls['certificates'][number]>({ chain: pemSource, key: pemSource }),
    1,
  ),
  clientCa: optional(pemSource),
})

const gatewayServer: Reader<GatewayServer> = object<GatewayServer>({
  name: text,
  hosts: texts,
  tls: optional(gatewayTls),
  virtualHosts: list(virtualHost),
})

const gatewayListener: Reader<GatewayListener> = object<GatewayListener>({
  port,
  servers: list(gatewayServer, 1),
})

const gatewayBundle: Reader<GatewayBundle> = object<GatewayBundle>({
  format: count,
  listeners: list(gatewayListener),
  clusters: map(cluster),
})

/**
 * Reads the body of an `inbound/` resource.
 *
 * @throws {PolicyError} `POLICY_BUNDLE_FORMAT`, `POLICY_BUNDLE_INVALID` (with `pointer`), `POLICY_LIMIT`
 */
export function parseInboundBundle(body: Uint8Array): InboundBundle {
  return inboundBundle(parseBody(body), '')
}

/**
 * Reads the body of a `destination/` resource.
 *
 * @throws {PolicyError} `POLICY_BUNDLE_FORMAT`, `POLICY_BUNDLE_INVALID` (with `pointer`), `POLICY_LIMIT`
 */
export function parseDestinationBundle(body: Uint8Array): DestinationBundle {
  return destinationBundle(parseBody(body), '')
}

/**
 * Reads the body of a `gateway/` resource.
 *
 * @throws {PolicyError} `POLICY_BUNDLE_FORMAT`, `POLICY_BUNDLE_INVALID` (with `pointer`), `POLICY_LIMIT`
 */
export function parseGatewayBundle(body: Uint8Array): GatewayBundle {
  return gatewayBundle(parseBody(body), '')
}

function parseBody(body: Uint8Array): unknown {
  if (body.byteLength > MAX_BUNDLE_BYTES) {
    throw new PolicyError(
      'POLICY_LIMIT',
      `Cannot read bundle: it has ${body.byteLength} bytes, at most ${MAX_BUNDLE_BYTES} are read`,
    )
  }
  const value = parseJson(body)
  // The format comes first: a newer bundle's unknown keys are a symptom, not the reason.
  const format = typeof value === 'object' && value !== null && 'format' in value && value.format
  if (format !== BUNDLE_FORMAT) {
    throw new PolicyError(
      'POLICY_BUNDLE_FORMAT',
      `Cannot read bundle: its format is ${JSON.stringify(format)}, expected ${BUNDLE_FORMAT}`,
      { pointer: '/format' },
    )
  }
  return value
}

function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
  } catch (cause) {
    throw new PolicyError('POLICY_BUNDLE_INVALID', 'Cannot read bundle: it is not JSON in UTF-8', {
      cause,
      pointer: '',
    })
  }
}
