/**
 * Envoy itself on the agent's socket: certificate and validation context by SDS, in real time and
 * identified by the kernel.
 */
import { once } from 'node:events'
import { connect as connectTls } from 'node:tls'
import { setTimeout as sleep } from 'node:timers/promises'
import { openSvid } from '#agent/client/index.ts'
import { peerChain, verifySvid } from '#ca/x509/index.ts'
import { realClock, workloadId } from '#test/ca/harness.ts'
import { realAgent, testWith } from './harness.ts'
import { startEnvoy } from './start-envoy.ts'

/** Names of certificate and validation context, and Envoy's name for the protocol they are asked by. */
interface Asked {
  readonly names: readonly [string, string]
  readonly protocol: 'GRPC' | 'DELTA_GRPC'
}

const envoyConfig = (
  socket: string,
  admin: number,
  port: number,
  { names, protocol }: Asked,
): object => {
  const sds = {
    resource_api_version: 'V3',
    api_config_source: {
      api_type: protocol,
      transport_api_version: 'V3',
      grpc_services: [{ envoy_grpc: { cluster_name: 'agent' } }],
    },
  }
  const secret = (name: string | undefined) => ({ name, sds_config: sds })
  const address = (value: number) => ({
    socket_address: { address: '127.0.0.1', port_value: value },
  })
  const matcher = { san_type: 'URI', matcher: { exact: workloadId } }
  const tls = {
    '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
    require_client_certificate: true,
    common_tls_context: {
      tls_certificate_sds_secret_configs: [secret(names[0])],
      combined_validation_context: {
        default_validation_context: { match_typed_subject_alt_names: [matcher] },
        validation_context_sds_secret_config: secret(names[1]),
      },
    },
  }
  const router = {
    name: 'router',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router',
    },
  }
  const http = {
    '@type':
      'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
    stat_prefix: 'in',
    route_config: {
      virtual_hosts: [
        {
          name: 'v',
          domains: ['*'],
          routes: [
            {
              match: { prefix: '/' },
              direct_response: { status: 200, body: { inline_string: 'ok' } },
            },
          ],
        },
      ],
    },
    http_filters: [router],
  }
  const http2 = {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
      explicit_http_config: { http2_protocol_options: {} },
    },
  }
  return {
    node: { id: 'envoy', cluster: 'envoy' },
    admin: { address: address(admin) },
    static_resources: {
      listeners: [
        {
          address: address(port),
          filter_chains: [
            {
              transport_socket: { name: 'tls', typed_config: tls },
              filters: [{ name: 'hcm', typed_config: http }],
            },
          ],
        },
      ],
      clusters: [
        {
          name: 'agent',
          connect_timeout: '1s',
          typed_extension_protocol_options: http2,
          load_assignment: {
            cluster_name: 'agent',
            endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path: socket } } } }] }],
          },
        },
      ],
    },
  }
}

const asked: readonly Asked[] = [
  { names: [workloadId, 'spiffe://prod.example'], protocol: 'GRPC' },
  { names: ['default', 'ROOTCA'], protocol: 'GRPC' },
  { names: ['default', 'ALL'], protocol: 'DELTA_GRPC' },
]
for (const { names, protocol } of asked) {
  testWith(
    'REDOUBT_ENVOY',
    `Envoy takes ${names.join(' and ')} by SDS (${protocol}), serves with them through rotations and refuses who has none`,
    async (t, envoy) => {
      await using running = await realAgent('PT6S')
      const { agent, dir } = running
      await using theirs = await startEnvoy(envoy, dir, 1, (admin, [port = 0]) =>
        envoyConfig(agent.socketPath, admin, port, { names, protocol }),
      )
      const [port = 0] = theirs.ports
      const ending = new AbortController()
      try {
        const svid = await openSvid(
          {
            socketPath: agent.socketPath,
            clock: realClock,
            now: () => Temporal.Now.instant(),
            random: Math.random,
            log: () => {},
          },
          ending.signal,
        )
        const serials = new Set<string>()
        for (let second = 0; second < 8; second += 1) {
          const { chainPem: cert, keyPem: key, bundles } = svid.current
          const socket = connectTls({
            host: '127.0.0.1',
            port,
            cert,
            key,
            rejectUnauthorized: false,
          })
          await once(socket, 'secureConnect')
          const now = Temporal.Now.instant()
          const verdict = verifySvid(peerChain(socket), bundles, now, 'server')
          if (verdict.kind !== 'ok') return t.fail(JSON.stringify(verdict))
          serials.add(verdict.serial)
          socket.write('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')
          const [answer] = await once(socket, 'data')
          t.regex(String(answer), /^HTTP\/1\.1 200 /)
          socket.destroy()
          await sleep(1000)
        }
        t.true(serials.size >= 3, `${serials.size} serials in 8 s`)
        t.is(await answerTo(port), 'no answer', 'a peer without a certificate')
      } finally {
        ending.abort()
      }
    },
  )
}

/** What a client without a certificate gets. */
function answerTo(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false })
    const end = (): void => resolve('no answer')
    socket.on('secureConnect', () => socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n'))
    socket.on('data', (data) => resolve(String(data)))
    socket.on('error', end).on('close', end)
  })
}
