/** §1.6, §1.12: each mode of normalisation against targets put together from awkward pieces. */
import { type Area, CALLER, PORT, resource } from './area.ts'
import type { Draw } from './draw.ts'

const PIECES = [
  ...['a', 'b', 'A', 'api', 'x.txt', '.', '..', '...', '', '', '~', '*', '+', '@', ':', '!', "'"],
  ...['%2e', '%2E%2e', '%2f', '%2F', '%5c', '%5C', '\\', '%25', '%252e', '%252f', '%41', '%61'],
  ...['%7e', '%7E', '%5f', '%2d', '%20', '%3f', '%23', '%3b', '%00', '%0a', '%7f', '%c3%a9', '%ff'],
  ...[';', ';v=1', '..;', '.;', 'a;b', '%', '%4', '%zz', '%u0041', '[', ']', '{', '}', '|', '^'],
  ...['`', '"', '<', '>', '&', '=', ',', '$', '(', ')'],
]
const MODES = ['NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES', 'DEFAULT']
const WRITTEN = [
  ...['/', '/a', '/a/', '/a/b', '/api/*', '*/b', '*', '/a/../b', '//a', '/a//b', '/%41', '/a%2fb'],
  ...['/a%2Fb', '/.', '/a;v=1', '/A', '*.txt', '/a*', '*a', '/a%20b', '/a b', '/a\\b', '/é', '/%'],
  ...[
    '/{*}',
    '/{**}',
    '/a/{*}',
    '/a/{**}',
    '/{*}/b',
    '/{*}/{**}',
    '/a/{*}/b',
    '/a/{**}/b',
    '/a/{**}/',
  ],
  ...['/{*}/x.txt', '/api/{*}/{**}', '/a%2fb/{*}', '/%41/{*}', '/a~b/{*}', '/a:b/{*}', '/a;b/{**}'],
]

export const paths: Area = {
  name: 'paths',
  draw(draw) {
    const rule = () => {
      const field = draw.chance(0.8) ? 'paths' : 'notPaths'
      const operation: Record<string, unknown> = { [field]: draw.some(WRITTEN, 1, 3) }
      if (draw.chance(0.1)) operation['notPaths'] = draw.some(WRITTEN, 1, 2)
      return { to: [{ operation }] }
    }
    const policies = draw.times(1, 2, () => {
      const action = draw.pick(['ALLOW', 'DENY', 'ALLOW'])
      return { action, rules: draw.times(1, 2, rule) }
    })
    return {
      manifests: policies.map((spec, at) => resource('AuthorizationPolicy', `p${at}`, spec)),
      mesh: { pathNormalization: { normalization: draw.pick(MODES) } },
      request: () => ({
        from: CALLER,
        port: PORT.http,
        protocol: draw.pick(['http/1.1', 'http/1.1', 'h2']),
        method: 'GET',
        path: target(draw),
      }),
    }
  },
}

function target(draw: Draw): string {
  const path = draw.chance(0.25)
    ? draw
        .pick(WRITTEN)
        .replaceAll(/[{}*]|[^ -~]/g, '')
        .replaceAll(' ', '%20')
    : `/${draw.times(1, 4, () => draw.times(1, 2, () => draw.pick(PIECES)).join('')).join('/')}`
  const query = draw.pick(['', '', '', '?', '?a=/../b', '?x=%2e%2f', '#f', '?a#/b', '#?x'])
  return (path.startsWith('/') ? path : `/${path}`) + query
}
