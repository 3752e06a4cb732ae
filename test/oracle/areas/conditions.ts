/** §1.7, §1.8, §1.10: every `when` key under every action, on HTTP and TCP, dry-run and in the root namespace. */
import { type Area, CALLER, PORT, resource } from './area.ts'

const VALUES: Readonly<Record<string, readonly string[]>> = {
  'request.headers[x-a]': ['v', '*', 'v*', '*w'],
  'request.headers[:path]': ['/a', '/a*'],
  'source.ip': ['127.0.0.1', '127.20.0.0/16'],
  'remote.ip': ['127.0.0.1', '10.9.0.0/16'],
  'source.namespace': ['app', '*', 'a*', 'oth*'],
  'source.serviceAccount': ['cli', 'app/cli', 'other/cli'],
  'source.principal': [
    'cluster.local/ns/app/sa/cli',
    '*',
    '*/cli',
    'cluster.local/*',
    '*/ns/app/sa/cli',
  ],
  'source.trustDomain': ['cluster.local', '*', 'cl*', '*al', 'other'],
  'request.auth.principal': ['*', 'iss/u', 'iss/*', '*/u', '*/*'],
  'request.auth.audiences': ['aud1', '*', 'aud*'],
  'request.auth.presenter': ['azp1', '*'],
  'request.auth.claims[grp]': ['dev', '*', 'd*'],
  'request.auth.claims[a][b]': ['v', '*'],
  'request.auth.claims[sub]': ['u', '*'],
  // What validation takes and nobody can take apart; and brackets that belong to a name.
  'request.auth.claims.a[b]': ['v', '*'],
  'request.headersx[x-a]': ['v', '*'],
  'request.auth.claims[grp[x]]': ['dev', '*'],
  'destination.ip': ['127.0.0.0/8', '10.0.0.0/8'],
  'destination.port': ['8080', '9000', '7000', '5555'],
  'connection.sni': ['outbound_.8080_._.oracle.local', '*.local', 'outbound_*', '*', 'A.example'],
  'experimental.envoy.filters.network.mysql_proxy[db.t]': ['[read]', 'x', '*'],
  'experimental.envoy.filters.a.b[c]': ['[x]', 'x*'],
}
const KEYS = Object.keys(VALUES)
const DRY = ['true', 'false', '1', '0', 't', 'F', 'TRUE', 'False', 'T', 'f']

export const conditions: Area = {
  name: 'conditions',
  draw(draw) {
    const condition = () => {
      const key = draw.pick(KEYS)
      const values = VALUES[key] ?? []
      const field = draw.chance(0.7) ? 'values' : 'notValues'
      const both = draw.chance(0.15) ? { notValues: draw.some(values, 1, 1) } : {}
      return { key, [field]: draw.some(values, 1, 2), ...both }
    }
    const rule = () => ({
      ...(draw.chance(0.3)
        ? {
            to: [
              {
                operation: draw.pick([
                  { ports: ['8080'] },
                  { methods: ['GET'] },
                  { notPorts: ['9000'] },
                  { notPaths: ['/b'] },
                  { paths: ['/a'], ports: ['7000'] },
                ]),
              },
            ],
          }
        : {}),
      ...(draw.chance(0.2)
        ? {
            from: [
              {
                source: draw.pick([
                  { namespaces: ['app'] },
                  { notRequestPrincipals: ['*'] },
                  { requestPrincipals: ['*'] },
                  { notPrincipals: ['*'] },
                ]),
              },
            ],
          }
        : {}),
      when: draw.times(1, 2, condition),
    })
    const policies = draw.times(1, 3, () => ({
      action: draw.pick(['ALLOW', 'DENY', 'AUDIT', 'ALLOW', 'DENY']),
      rules: draw.times(1, 2, rule),
      ...draw.pick([
        {},
        {},
        { selector: { matchLabels: { app: 'web' } } },
        { selector: { matchLabels: { app: 'no' } } },
      ]),
    }))
    const jwks = { issuer: 'iss', jwks: '__JWKS__', forwardOriginalToken: true }
    return {
      manifests: [
        resource('RequestAuthentication', 'tokens', { jwtRules: [jwks] }),
        ...policies.map((spec, at) =>
          resource('AuthorizationPolicy', `w${at}`, spec, {
            namespace: draw.pick(['app', 'app', 'app', 'istio-system', 'other']),
            ...(spec.action !== 'AUDIT' && draw.chance(0.2)
              ? { annotations: { 'istio.io/dry-run': draw.pick(DRY) } }
              : {}),
          }),
        ),
      ],
      request: () => {
        const port = draw.pick(Object.values(PORT))
        const claims = {
          iss: 'iss',
          sub: draw.pick(['u', 'v']),
          ...(draw.chance(0.5) ? { aud: draw.pick(['aud1', ['aud1', 'x'], 'z']) } : {}),
          ...(draw.chance(0.5) ? { azp: draw.pick(['azp1', 'z']) } : {}),
          ...(draw.chance(0.5)
            ? { grp: draw.pick(['dev', ['ops', 'dev'], [], 'x', 5, null]) }
            : {}),
          ...(draw.chance(0.3) ? { 'grp[x]': draw.pick(['dev', ['ops', 'dev'], 'x']) } : {}),
          ...(draw.chance(0.5)
            ? { a: draw.pick([{ b: 'v' }, { b: ['v'] }, 'v', [{ b: 'v' }]]) }
            : {}),
        }
        const protocol = draw.pick(
          port === PORT.tcp
            ? (['tcp', 'http/1.1'] as const)
            : (['http/1.1', 'http/1.1', 'tcp', 'h2', 'grpc'] as const),
        )
        return {
          from: draw.pick([CALLER, CALLER, 'spiffe://cluster.local/ns/other/sa/web', 'none']),
          port,
          protocol,
          path: draw.pick(['/a', '/b']),
          ...(draw.chance(0.2) ? { sni: draw.pick(['a.example', 'x.local']) } : {}),
          ...(draw.chance(0.3) ? { srcIp: '127.20.1.5' } : {}),
          ...(draw.chance(0.6) && protocol !== 'tcp' ? { jwt: { claims } } : {}),
          headers: draw.times(0, 2, (): [string, string] =>
            draw.pick([
              ['x-a', 'v'],
              ['x-a', 'zw'],
              ['x-forwarded-for', '10.9.1.1'],
            ]),
          ),
        }
      },
    }
  },
}
