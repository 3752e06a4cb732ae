/**
 * §1.11: CUSTOM. The authorizer allows what reaches it with `x-ext-authz: allow`, so that an answer also
 * tells what it was asked.
 */
import { type Area, CALLER, PORT, resource } from './area.ts'
import type { Draw } from './draw.ts'

/** What the oracle's authorizer and ours answer to. */
export const AUTHORIZER_HOST = 'authz.app.svc.cluster.local'
const RESULT = 'x-ext-authz-result'
const NAMES = [['x-ext-authz'], ['x-ext-*'], ['*-authz'], ['X-Ext-Authz'], ['x-other'], undefined]
const RESULTS = [[RESULT], ['x-ext-*'], ['*-result'], ['nothing'], undefined]
const STATUSES = ['500', '401', '429', '503', undefined, undefined]

export const custom: Area = {
  name: 'custom',
  draw(draw) {
    const names = ['gate', ...draw.some(['gate-b', 'gone', 'rpc', 'unknown'], 0, 1)]
    const policies = draw.times(1, 3, () => policy(draw, names))
    return {
      manifests: [
        {
          apiVersion: 'v1',
          kind: 'Service',
          metadata: { name: 'authz', namespace: 'app' },
          spec: {
            selector: { app: 'authz' },
            ports: [{ name: 'http', port: 80, targetPort: 8000 }],
          },
        },
        ...policies.map((spec, at) =>
          resource('AuthorizationPolicy', `c${at}`, spec, dryRun(draw)),
        ),
      ],
      mesh: { extensionProviders: providers(draw) },
      watched: [RESULT, 'x-ext-authz'],
      request: () => request(draw),
    }
  },
}

function dryRun(draw: Draw): Readonly<Record<string, unknown>> {
  return draw.chance(0.05) ? { annotations: { 'istio.io/dry-run': 'true' } } : {}
}

function policy(draw: Draw, names: readonly string[]) {
  const operation = () =>
    draw.pick([
      { paths: draw.some(['/a', '/b*', '/ask/{*}', '*c'], 1, 2) },
      { notPaths: ['/open*'] },
      { methods: ['POST'] },
      { ports: ['8080'] },
      { hosts: ['ex.com'], notMethods: ['GET'] },
    ])
  const rule = () =>
    draw.pick([
      () => ({ to: draw.times(1, 2, () => ({ operation: operation() })) }),
      () => ({ from: [{ source: { ipBlocks: ['127.20.0.0/16'] } }] }),
      () => ({ when: [{ key: 'request.headers[x-a]', values: ['v*'] }] }),
      () => ({}),
      () => ({
        to: [{ operation: operation() }],
        from: [{ source: { notIpBlocks: ['127.20.0.0/16'] } }],
      }),
    ])()
  if (draw.chance(0.3))
    return { action: draw.pick(['ALLOW', 'DENY']), rules: draw.times(1, 2, rule) }
  return { action: 'CUSTOM', provider: { name: draw.pick(names) }, rules: draw.times(1, 2, rule) }
}

function providers(draw: Draw): readonly object[] {
  const defined = (fields: Readonly<Record<string, unknown>>): object =>
    Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
  const common = () => ({
    port: 80,
    // Longer than anybody waits here: what a busy machine delays is not what is compared.
    timeout: '60s',
    failOpen: draw.pick([true, false, undefined]),
    statusOnError: draw.pick(STATUSES),
  })
  const http = (service: string) =>
    defined({
      ...common(),
      service,
      pathPrefix: draw.pick(['/check', undefined]),
      includeRequestHeadersInCheck: draw.pick(NAMES),
      includeAdditionalHeadersInCheck: draw.chance(0.1) ? { 'x-ext-authz': 'allow' } : undefined,
      headersToUpstreamOnAllow: draw.pick(RESULTS),
      headersToDownstreamOnDeny: draw.pick(RESULTS),
      headersToDownstreamOnAllow: draw.pick(RESULTS),
      includeRequestBodyInCheck: draw.chance(0.3)
        ? { maxRequestBytes: draw.pick([8, 100]), allowPartialMessage: draw.chance(0.5) }
        : undefined,
    })
  return [
    { name: 'gate', envoyExtAuthzHttp: http(AUTHORIZER_HOST) },
    { name: 'gate-b', envoyExtAuthzHttp: http(AUTHORIZER_HOST) },
    { name: 'gone', envoyExtAuthzHttp: http('nobody.app.svc.cluster.local') },
    {
      name: 'rpc',
      envoyExtAuthzGrpc: defined({ ...common(), service: 'authz.app.svc.cluster.local', port: 81 }),
    },
  ]
}

function request(draw: Draw): ReturnType<ReturnType<Area['draw']>['request']> {
  const port = draw.chance(0.7)
    ? PORT.http
    : draw.pick([PORT.tcp, PORT.auto, PORT.undeclared, PORT.grpc])
  const protocol =
    port === PORT.http
      ? draw.pick(['http/1.1', 'http/1.1', 'h2'] as const)
      : port === PORT.grpc
        ? draw.pick(['h2', 'grpc'] as const)
        : draw.pick(['http/1.1', 'tcp'] as const)
  const body = 'x'.repeat(draw.pick([0, 0, 3, 8, 9, 200]))
  const said = draw.pick(['allow', 'allow', 'allow', 'deny', 'Allow', ''])
  const headers: [string, string][] = draw.chance(0.8) ? [['x-ext-authz', said]] : []
  if (draw.chance(0.1)) headers.push(['x-ext-authz', 'allow'])
  if (draw.chance(0.2)) headers.push([RESULT, 'mine'])
  if (draw.chance(0.3)) headers.push(['x-a', draw.pick(['v1', 'w'])])
  return {
    from: draw.pick([CALLER, CALLER, 'none']),
    port,
    protocol,
    method: body === '' ? draw.pick(['GET', 'POST', 'HEAD']) : 'POST',
    path: draw.pick(['/a', '/b', '/bc', '/open', '/ask/x', '/ask/', '/c?q=1', '/a//b']),
    host: draw.pick(['ex.com', 'oracle.local']),
    headers,
    ...(body === '' ? {} : { body }),
    ...(draw.chance(0.3) ? { srcIp: '127.20.1.5' } : {}),
  }
}
