/**
 * What the admin port shows, as data. INVARIANT: nothing here is secret: no key, no token, and of the
 * headers that a denied request carried their names and lengths only.
 */
import { createHash } from 'node:crypto'
import type { Svid } from '#agent/client/index.ts'
import type { GatewayBundle, InboundBundle, PemSource } from '#policy/model/index.ts'
import type { ClusterState, EndpointState } from '../outbound/cluster-state.ts'
import type { PolicySession } from '../sync/policy-stream.ts'
import type { DenialEntry } from './decisions.ts'

/** `/certs`: the identity that this sidecar shows, and what it judges peers by. */
export function viewCertificates(svid: Svid, now: Temporal.Instant): unknown {
  const { id, serial, issuedAt, notBefore, notAfter, chain, chainPem, bundles } = svid
  return {
    spiffeId: id,
    serial,
    issuedAt: issuedAt.toString(),
    notBefore: notBefore.toString(),
    notAfter: notAfter.toString(),
    remainingSeconds: Math.floor((notAfter.epochMilliseconds - now.epochMilliseconds) / 1000),
    fingerprints: chain.map(sha256),
    chainPem,
    bundles: bundles.map(({ trustDomain, generation, roots }) => ({
      trustDomain,
      generation,
      roots: roots.map((root) => ({
        sha256: sha256(root),
        pem: pemOf(root),
      })),
    })),
  }
}

function sha256(der: Uint8Array): string {
  return createHash('sha256').update(der).digest('hex')
}

function pemOf(der: Uint8Array): string {
  return `-----BEGIN CERTIFICATE-----\n${Buffer.from(der)
    .toString('base64')
    .replace(/.{1,64}/g, '$&\n')}-----END CERTIFICATE-----\n`
}

/** `/config_dump`: what is wanted, in force and refused, and the bundles in force. */
export function viewConfiguration(
  workload: { readonly namespace: string; readonly name: string },
  session: PolicySession,
): unknown {
  const [inbound, ...others] = session.held()
  const gateway = session.gateway && others.shift()
  const bundles = new Map(
    session
      .destinations()
      .map(({ bundle }) => [
        bundle.kind === 'known' ? `destination/${bundle.host}:${bundle.port}` : '',
        bundle,
      ]),
  )
  return {
    workload: `${workload.namespace}/${workload.name}`,
    policyServer: { connected: session.isConnected() },
    inbound: { ...inbound, bundle: withoutKeys(session.inbound.current?.bundle) },
    ...(gateway && {
      gateway: { ...gateway, bundle: withoutPem(session.gateway?.current?.bundle) },
    }),
    destinations: others.map((held) => ({ ...held, bundle: bundles.get(held.name) ?? null })),
  }
}

/** Of the keys that verify tokens only where they come from: a symmetric one is a secret. */
function withoutKeys(bundle: InboundBundle | undefined): unknown {
  if (bundle === undefined) return null
  const tokenRules = bundle.tokenRules.map(({ keys, ...rule }) => ({ ...rule, keys: keys.kind }))
  return { ...bundle, tokenRules }
}

/** Of what a gateway shows only where it is from: a private key is the secret of all. */
function withoutPem(bundle: GatewayBundle | undefined): unknown {
  const sourceOf = (source: PemSource) =>
    source.kind === 'inline' ? { kind: source.kind } : source
  if (bundle === undefined) return null
  const listeners = bundle.listeners.map(({ port, servers }) => ({
    port,
    servers: servers.map(({ tls, ...server }) => {
      if (tls === undefined) return server
      const certificates = tls.certificates.map(({ chain, key }) => ({
        chain: sourceOf(chain),
        key: sourceOf(key),
      }))
      const { clientCa } = tls
      return {
        ...server,
        tls: { ...tls, certificates, ...(clientCa && { clientCa: sourceOf(clientCa) }) },
      }
    }),
  }))
  return { ...bundle, listeners }
}

/** `/clusters`: every endpoint, how busy and how healthy it is. */
export function viewClusters(
  { destinations, gateway }: Pick<PolicySession, 'destinations' | 'gateway'>,
  nowMs: number,
): unknown {
  const met = destinations().map(({ bundle, clusters }) => ({
    destination: bundle.kind === 'known' ? `${bundle.host}:${bundle.port}` : null,
    clusters,
  }))
  const routed = gateway?.current && { destination: 'gateway', clusters: gateway.current.clusters }
  return [...met, ...(routed ? [routed] : [])].flatMap(({ destination, clusters }) =>
    [...clusters.values()].map((cluster) => ({ destination, ...viewCluster(cluster, nowMs) })),
  )
}

function viewCluster({ name, cluster, requests, retries, endpoints }: ClusterState, nowMs: number) {
  const { service, subset, loadBalancing, sni } = cluster
  return {
    name,
    service: service.host,
    subset,
    loadBalancing,
    sni,
    activeRequests: requests.active,
    maxRequests: requests.limit,
    activeRetries: retries,
    endpoints: endpoints.map((endpoint) => viewEndpoint(endpoint, nowMs)),
  }
}

function viewEndpoint({ endpoint, active, health }: EndpointState, nowMs: number) {
  const { namespace, name } = endpoint.workload
  return {
    address: endpoint.address,
    workload: `${namespace}/${name}`,
    tls: endpoint.tls,
    identities: endpoint.identities,
    activeRequests: active,
    health:
      health.kind === 'in'
        ? { state: 'in', consecutive5xx: health.consecutive5xx, ejections: health.ejections }
        : {
            state: 'ejected',
            returnsInMs: Math.max(0, Math.round(health.untilMs - nowMs)),
            ejections: health.ejections,
          },
  }
}

/** `/decisions`: denials without the values of headers and claims, which may be somebody's token. */
export function viewDenial({ request, ...entry }: DenialEntry): unknown {
  if (request === undefined) return { ...entry, request: null }
  const { headers, claims, ...plain } = request
  return {
    ...entry,
    request: {
      ...plain,
      ...(headers && { headers: mapValues(headers, (values) => values.map(lengthOnly)) }),
      ...(claims !== undefined && { claims: claims && Object.keys(claims) }),
    },
  }
}

function lengthOnly(value: string): string {
  return `<${value.length} characters>`
}

function mapValues<T, U>(record: Readonly<Record<string, T>>, to: (value: T) => U) {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, to(value)]))
}
