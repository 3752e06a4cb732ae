/** §0.8 rows 17 and 18: headers of every kind, said once and again, and what a host may look like. */
import { type Area, CALLER, PORT, resource } from './area.ts'

/** Joined with commas, rewritten, pseudo, hop by hop, and plain ones. */
const NAMES = [
  ...['x-a', 'X-A', 'accept', 'accept-encoding', 'authorization', 'cache-control', 'content-type'],
  ...[
    'expect',
    'grpc-timeout',
    'if-none-match',
    'origin',
    'pragma',
    'referer',
    'user-agent',
    'via',
  ],
  ...['x-client-trace-id', 'x-forwarded-host', 'x-forwarded-proto', 'x-request-id', 'cookie'],
  ...['accept-language', 'x-forwarded-for', 'x-real-ip', 'forwarded', 'date', 'if-match', 'range'],
  ...[
    'access-control-request-method',
    'x-envoy-decorator-operation',
    'x-b3-traceid',
    'traceparent',
  ],
  ...[
    'set-cookie',
    'www-authenticate',
    'location',
    'server',
    'x-envoy-original-path',
    'proxy-authorization',
    'trailer',
    'x-envoy-internal',
    'x-redoubt-decision',
    'cookie2',
    'keep-alive',
  ],
]
const PSEUDO = [':authority', ':path', ':method', 'host', ':scheme', 'content-length']
const PROTOCOLS = ['http/1.1', 'http/1.1', 'h2'] as const
const VALUES = [
  'v',
  'w',
  'v,w',
  'v, w',
  'V',
  'vw',
  'a=1',
  'a=1; b=2',
  'http://a.b/v',
  'http://a',
  '*',
  'x*',
  'http',
  'trailers',
]
const WRITTEN = [...VALUES, 'v*', '*w', '*', 'a*', '*=2', 'v,*', 'GET', '/a', 'ex.com', '*.com']

export const headers: Area = {
  name: 'headers',
  draw(draw) {
    const names = draw.some(NAMES, 1, 3)
    if (draw.chance(0.25)) names.push(draw.pick(PSEUDO))
    const condition = () => {
      const key = `request.headers[${draw.pick(names)}]`
      const field = draw.chance(0.75) ? 'values' : 'notValues'
      const both = draw.chance(0.1) ? { notValues: draw.some(WRITTEN, 1, 2) } : {}
      return { key, [field]: draw.some(WRITTEN, 1, 2), ...both }
    }
    const policies = draw.times(1, 2, () => {
      const rules = draw.times(1, 2, () => ({ when: draw.times(1, 2, condition) }))
      return { action: draw.pick(['ALLOW', 'DENY']), rules }
    })
    const sendable = names.filter((name) => !PSEUDO.includes(name))
    // HTTP/2 has no such field (RFC 9113 §8.2.2).
    const protocols = names.includes('keep-alive') ? ['http/1.1' as const] : PROTOCOLS
    const line = (): [string, string] => {
      const name = draw.pick(sendable)
      const value = draw.chance(0.1) ? '' : draw.pick(VALUES)
      return [draw.chance(0.2) ? name.toUpperCase() : name, value]
    }
    return {
      manifests: policies.map((spec, at) => resource('AuthorizationPolicy', `h${at}`, spec)),
      request: () => ({
        from: draw.chance(0.8) ? CALLER : 'none',
        port: PORT.http,
        protocol: draw.pick(protocols),
        method: draw.pick(['GET', 'POST', 'HEAD']),
        path: draw.pick(['/a', '/b']),
        host: draw.pick(['ex.com', 'v']),
        headers: draw.times(0, 4, line),
      }),
    }
  },
}

const HOSTS = ['ex.com', 'EX.com', 'api.ex.com', 'ex.com:80', 'ex.com:8080', 'ex.com.', 'web.app']
const SENT = [
  ...HOSTS,
  ...['eX.cOm:8080', 'ex.com:', 'ex.com:080', '[::1]', '[::1]:80', '127.0.0.1', '127.0.0.1:8080'],
  ...['web.app.svc.cluster.local', 'a_b.com', '-', 'ex.com:99999', 'xn--e.com', 'ex.com,ex.org'],
]
const WRITTEN_HOSTS = [
  ...HOSTS,
  'ex.com*',
  '*.ex.com',
  '*:8080',
  '*',
  '*.COM',
  'Ex*',
  '[::1]*',
  '*ex.com',
]

export const hosts: Area = {
  name: 'hosts',
  draw(draw) {
    const operation = () => {
      const field = draw.chance(0.75) ? 'hosts' : 'notHosts'
      return { operation: { [field]: draw.some(WRITTEN_HOSTS, 1, 2) } }
    }
    const policies = draw.times(1, 2, () => {
      const rules = draw.times(1, 2, () => ({ to: draw.times(1, 2, operation) }))
      return { action: draw.pick(['ALLOW', 'DENY']), rules }
    })
    return {
      manifests: policies.map((spec, at) => resource('AuthorizationPolicy', `o${at}`, spec)),
      request: () => {
        const absolute = draw.chance(0.2)
        const protocol = absolute ? 'http/1.1' : draw.pick(['http/1.1', 'h2'] as const)
        const prefix = absolute
          ? draw.pick(['http://', 'HTTP://', 'https://']) + draw.pick(SENT)
          : ''
        const path = prefix + draw.pick(absolute ? ['/a', '', '/', '/a?b', '?b'] : ['/a'])
        const host = draw.pick(SENT)
        // What `:authority` says wins over a `host` beside it.
        const beside = protocol === 'h2' && draw.chance(0.2)
        const headers: [string, string][] = beside ? [['host', draw.pick(SENT)]] : []
        return { from: CALLER, port: PORT.http, protocol, path, host, headers }
      },
    }
  },
}
