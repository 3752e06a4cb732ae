/**
 * A sentence for each field of our own kinds. Istio's fields are described by Istio.
 *
 * Paths are those of the manifest below `spec`; `[]` is any entry of a list or map.
 */
const OWN: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  Mesh: {
    trustDomain: 'Trust domain of every identity of the mesh. Default cluster.local.',
    trustDomainAliases:
      'Other names of the trust domain: policies and peers of these are as its own.',
    rootNamespace: 'Policies in it apply to every namespace. Default istio-system.',
    certificates: 'How long certificates live.',
    'certificates.leafTtl': 'Of workload certificates. Default 1h.',
    'certificates.maxLeafTtl': 'Longest that anybody may ask for. Default 24h.',
    'certificates.caTtl': 'Of the issuing authority, at least six times leafTtl. Default 2160h.',
    'certificates.rootTtl': 'Of the root, at least caTtl. Default 87600h.',
    outboundTrafficPolicy: 'What happens to requests for hosts that no manifest names.',
    'outboundTrafficPolicy.mode':
      'ALLOW_ANY sends them on, REGISTRY_ONLY refuses. Default ALLOW_ANY.',
    pathNormalization: 'How paths are read before policies and routes see them.',
    'pathNormalization.normalization': 'Default BASE.',
    enableAutoMtls: 'Whether sidecars speak mutual TLS to each other unasked. Default true.',
    accessLogFile: '/dev/stdout: every request is logged; else refusals alone.',
    jwks: 'Where keys of RequestAuthentications are fetched from.',
    'jwks.allowedCidrs':
      'Private addresses that may be asked, beside all public ones. Default loopback.',
    connectTimeout: 'For connections whose DestinationRule names none. Default 10s.',
    defaultHttpRetryPolicy: 'Retries of routes that name none.',
    extensionProviders: 'Who can be asked by AuthorizationPolicies with action CUSTOM.',
    enableMultipleCustomAuthzProviders:
      'Whether policies of one workload may ask several providers. Default false.',
  },
  Workload: {
    serviceAccount: 'Whose identity it has. Default `default`.',
    ports: 'What it serves.',
    'ports[].name': 'Begins with the protocol, as names of Service ports do.',
    'ports[].port': 'The workload port: what policies and Services call it.',
    run: 'A process to start, watch and stop.',
    'run.command': 'Program and arguments.',
    'run.env': 'Added to the environment.',
    'run.cwd': 'Working directory. Default that of the manifest.',
    address: 'Where an app that runs already listens: host or host:port.',
    ready: 'When the app counts as up.',
    'ready.httpGet': 'It answers with a status from 200 to 399.',
    'ready.httpGet.path': 'Default /.',
    'ready.httpGet.port': 'Number or name. Default the first.',
    'ready.tcp': 'It accepts a connection.',
    'ready.tcp.port': 'Number or name. Default the first.',
    sourceAddress: 'The address of 127.0.0.0/8 that its sidecar connects from, for ipBlocks.',
    proxy: 'Fixed ports of its sidecar; free ones are chosen otherwise.',
    'proxy.outbound': 'Where the app sends what it wants to reach.',
    'proxy.inbound': 'By workload port, where peers connect.',
    'proxy.admin': 'The admin page, on loopback.',
    'proxy.metrics': 'Prometheus metrics, on loopback.',
    'proxy.readiness': 'Readiness, on loopback.',
  },
}

/** What to say of the field at `path` of `kind`. */
export function describe(kind: string, path: string): string | undefined {
  return OWN[kind]?.[path]
}

/** Fields of `kind` that have a sentence. */
export function describedFields(kind: string): readonly string[] {
  return Object.keys(OWN[kind] ?? {})
}
