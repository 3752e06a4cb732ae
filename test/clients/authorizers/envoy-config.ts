/** A real Envoy whose listeners ask providers as Istio configures them (istio-semantics §1.11). */
import type {
  CheckedBody,
  GrpcAuthorizer,
  HttpAuthorizer,
  NamePattern,
} from '#policy/model/index.ts'

/** A listener: the port, and whom it asks. */
export interface AskingListener {
  readonly port: number
  readonly provider: HttpAuthorizer | GrpcAuthorizer
}

export interface EnvoyPlaces {
  readonly admin: number
  /** `host:port` each. */
  readonly app: string
  readonly http: string
  readonly grpc: string
}

const TYPE = 'type.googleapis.com/envoy.'

export function envoyConfig(listeners: readonly AskingListener[], places: EnvoyPlaces): object {
  return {
    admin: { address: address(`127.0.0.1:${places.admin}`) },
    static_resources: {
      listeners: listeners.map((one) => listener(one)),
      clusters: [
        cluster('app', places.app),
        cluster('http', places.http),
        {
          ...cluster('grpc', places.grpc),
          typed_extension_protocol_options: {
            'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
              '@type': `${TYPE}extensions.upstreams.http.v3.HttpProtocolOptions`,
              explicit_http_config: { http2_protocol_options: {} },
            },
          },
        },
      ],
    },
  }
}

function address(text: string): object {
  const [host, port] = text.split(':')
  return { socket_address: { address: host, port_value: Number(port) } }
}

function cluster(name: string, at: string): object {
  const endpoints = [{ lb_endpoints: [{ endpoint: { address: address(at) } }] }]
  return { name, connect_timeout: '1s', load_assignment: { cluster_name: name, endpoints } }
}

function listener({ port, provider }: AskingListener): object {
  const manager = {
    '@type': `${TYPE}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: 'in',
    // What Istio says of a sidecar's inbound side.
    server_name: 'istio-envoy',
    normalize_path: true,
    forward_client_cert_details: 'APPEND_FORWARD',
    route_config: {
      virtual_hosts: [
        {
          name: 'all',
          domains: ['*'],
          routes: [{ match: { prefix: '/' }, route: { cluster: 'app', timeout: '0s' } }],
        },
      ],
    },
    http_filters: [
      { name: 'envoy.filters.http.ext_authz', typed_config: asking(provider) },
      {
        name: 'router',
        typed_config: { '@type': `${TYPE}extensions.filters.http.router.v3.Router` },
      },
    ],
  }
  const filters = [{ name: 'hcm', typed_config: manager }]
  return { address: address(`127.0.0.1:${port}`), filter_chains: [{ filters }] }
}

function asking(provider: HttpAuthorizer | GrpcAuthorizer): object {
  const { timeoutMs, failOpen, statusOnError, body } = provider
  const timeout = `${timeoutMs / 1000}s`
  const common = {
    '@type': `${TYPE}extensions.filters.http.ext_authz.v3.ExtAuthz`,
    transport_api_version: 'V3',
    failure_mode_allow: failOpen,
    status_on_error: { code: statusOnError },
    ...(body === undefined ? {} : { with_request_body: bodyOf(body) }),
  }
  if (provider.kind === 'grpc') {
    const envoy = { cluster_name: 'grpc', authority: provider.host }
    return { ...common, grpc_service: { envoy_grpc: envoy, timeout } }
  }
  const { checkHeaders, addedHeaders, toUpstream, toDownstreamOnAllow, toDownstreamOnDeny } =
    provider
  const added = Object.entries(addedHeaders).map(([key, value]) => ({ key, value }))
  return {
    ...common,
    ...(checkHeaders.length === 0 ? {} : { allowed_headers: patterns(checkHeaders) }),
    http_service: {
      server_uri: { uri: `http://${provider.host}`, cluster: 'http', timeout },
      path_prefix: provider.pathPrefix,
      authorization_request: { headers_to_add: added },
      authorization_response: {
        ...lists('allowed_upstream_headers', toUpstream),
        ...lists('allowed_client_headers', toDownstreamOnDeny ?? []),
        ...lists('allowed_client_headers_on_success', toDownstreamOnAllow),
      },
    },
  }
}

function bodyOf({ maxBytes, allowPartial, asBytes }: CheckedBody): object {
  return {
    max_request_bytes: maxBytes,
    allow_partial_message: allowPartial,
    pack_as_bytes: asBytes,
  }
}

function lists(name: string, named: readonly NamePattern[]): object {
  return named.length === 0 ? {} : { [name]: patterns(named) }
}

function patterns(named: readonly NamePattern[]): object {
  return { patterns: named.map(({ kind, value }) => ({ [kind]: value, ignore_case: true })) }
}
