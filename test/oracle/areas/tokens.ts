/** §3: tokens good and broken in every place, several rules, and what becomes of headers and claims. */
import { JWKS, makeToken, strangerKey, type TokenParts, ecKey } from '#test/fakes/fake-tokens.ts'
import { type Area, CALLER, PORT, resource } from './area.ts'
import type { Draw } from './draw.ts'

const ISSUERS = ['https://iss.example', 'iss2', 'https://a/b']
const OUT = ['x-sub', 'x-grp', 'x-deep', 'x-num', 'x-pay']
const PLACES = [
  { fromHeaders: [{ name: 'x-tok', prefix: 'Tok ' }] },
  { fromHeaders: [{ name: 'x-tok' }] },
  { fromHeaders: [{ name: 'Authorization', prefix: 'Bearer ' }, { name: 'x-tok' }] },
  { fromParams: ['tk', 'access_token'] },
  { fromCookies: ['tk', 'session'] },
  { fromCookies: ['session'], fromHeaders: [{ name: 'authorization', prefix: 'Token=' }] },
]

export const tokens: Area = {
  name: 'tokens',
  draw(draw) {
    const rule = () => ({
      issuer: draw.pick(ISSUERS),
      jwks: JWKS,
      ...(draw.chance(0.4)
        ? { audiences: draw.some(['aud1', 'aud2', 'https://aud1/', 'http://aud2'], 1, 2) }
        : {}),
      ...(draw.chance(0.5) ? { forwardOriginalToken: draw.chance(0.7) } : {}),
      ...(draw.chance(0.5) ? draw.pick(PLACES) : {}),
      ...(draw.chance(0.4) ? { outputClaimToHeaders: outputs(draw) } : {}),
      ...(draw.chance(0.2) ? { outputPayloadToHeader: 'x-pay' } : {}),
      ...(draw.chance(0.2) ? { spaceDelimitedClaims: draw.some(['grp', 'words'], 1, 2) } : {}),
    })
    const policies = draw.times(0, 2, () => policy(draw))
    return {
      manifests: [
        ...draw
          .times(1, 2, () => draw.times(1, 2, rule))
          .map((jwtRules, at) => resource('RequestAuthentication', `t${at}`, { jwtRules })),
        ...policies.map((spec, at) => resource('AuthorizationPolicy', `p${at}`, spec)),
      ],
      watched: [...OUT, 'authorization', 'x-tok', 'cookie'],
      request: () => request(draw),
    }
  },
}

function outputs(draw: Draw) {
  return draw.times(1, 3, () => ({
    // A header in which tokens are looked for is one to answer in too.
    header: draw.pick([...OUT, ...OUT, 'X-Sub', 'x-tok', 'Authorization']),
    claim: draw.pick(['sub', 'grp', 'a.b', 'num', 'nothing', 'a', 'words', 'a.c.d']),
  }))
}

function policy(draw: Draw) {
  const principals = [
    '*',
    '*/u',
    `${ISSUERS[0]}/*`,
    `${ISSUERS[1]}/u`,
    'https://*',
    '*u',
    'iss2/pre*',
  ]
  const rule = () =>
    draw.pick([
      () => ({
        from: [
          {
            source: {
              [draw.pick(['requestPrincipals', 'notRequestPrincipals'])]: draw.some(
                principals,
                1,
                2,
              ),
            },
          },
        ],
      }),
      () => ({
        when: [
          { key: 'request.auth.claims[grp]', values: [draw.pick(['dev', 'x y', 'x', '*', 'd*'])] },
        ],
      }),
      () => ({
        when: [{ key: 'request.auth.claims[words]', values: [draw.pick(['read', '*rite'])] }],
      }),
      () => ({ when: [{ key: 'request.auth.claims[scope]', values: ['read'] }] }),
      () => ({ when: [{ key: 'request.auth.audiences', values: [draw.pick(['aud1', 'aud*'])] }] }),
      () => ({
        when: [
          {
            key: `request.headers[${draw.pick(['x-sub', 'authorization', 'x-pay', 'x-tok', 'cookie'])}]`,
            [draw.pick(['values', 'notValues'])]: [draw.pick(['*', 'u', 'spoof'])],
          },
        ],
      }),
    ])()
  return { action: draw.pick(['ALLOW', 'DENY']), rules: draw.times(1, 2, rule) }
}

function request(draw: Draw): ReturnType<ReturnType<Area['draw']>['request']> {
  const headers: [string, string][] = []
  let path = draw.pick(['/a', '/a?x=1', '/a?x=1&y=2'])
  for (const token of draw.times(0, 2, () => drawToken(draw))) {
    const place = draw.pick(['bearer', 'bearer', 'bearer', 'header', 'param', 'cookie', 'odd'])
    if (place === 'bearer')
      headers.push([draw.pick(['Authorization', 'authorization']), `Bearer ${token}`])
    if (place === 'header')
      headers.push(['X-Tok', draw.pick(['', 'Tok ', 'Tok  ', 'x Tok ']) + token])
    if (place === 'param')
      path += `${path.includes('?') ? '&' : '?'}${draw.pick(['access_token', 'tk'])}=${token}`
    if (place === 'cookie')
      headers.push([
        'Cookie',
        draw.pick([
          `tk=${token}`,
          `a=b; session=${token}`,
          `tk="${token}"; z=1`,
          `TK=${token}`,
          ...[`tk =${token}`, `a=1;  tk=${token} ; b=2`, `a=1;\ttk=${token}`, `tk;tk=${token}`],
        ]),
      ])
    if (place === 'odd') headers.push(['Authorization', odd(draw, token)])
  }
  if (draw.chance(0.15)) headers.push([draw.pick(OUT), 'spoof'])
  const isPreflight = draw.chance(0.08)
  if (isPreflight) headers.push(['Origin', 'https://o'], ['Access-Control-Request-Method', 'GET'])
  return {
    from: CALLER,
    port: PORT.http,
    protocol: draw.pick(['http/1.1', 'http/1.1', 'http/1.1', 'h2', 'grpc']),
    ...(isPreflight ? { method: draw.pick(['OPTIONS', 'OPTIONS', 'GET']) } : {}),
    path,
    headers,
  }
}

function odd(draw: Draw, token: string): string {
  return draw.pick([
    ...[
      `bearer ${token}`,
      `Bearer  ${token}`,
      `Bearer${token}`,
      `Bearer ${token} x`,
      `Token=${token}`,
      'Bearer ',
      'Bearer',
    ],
    ...[
      `x Bearer ${token}`,
      `Bearer ${token},Bearer ${token}`,
      `Bearer ${token}, x`,
      `Basic dTpw`,
      `Bearer "${token}"`,
      `Bearer ${token}=`,
    ],
  ])
}

const HOUR = 3600

function drawToken(draw: Draw): string {
  const now = Math.floor(Date.now() / 1000)
  const claims: Record<string, unknown> = {
    iss: draw.chance(0.9) ? draw.pick(ISSUERS) : draw.pick(['unknown', '', 5]),
    sub: draw.chance(0.95) ? draw.pick(['u', 'pre-x', 'é']) : draw.pick([5, null, '', ['u']]),
    exp: draw.chance(0.9)
      ? now + HOUR
      : draw.pick([now - HOUR, `${now + HOUR}`, now + HOUR + 0.5, -5, null, 0, 1e30, true]),
  }
  const maybe = (probability: number, name: string, values: readonly unknown[]): void => {
    if (draw.chance(probability)) claims[name] = draw.pick(values)
  }
  maybe(0.6, 'aud', [
    'aud1',
    'aud2',
    'aud1/',
    'https://aud2',
    ['aud1', 'x'],
    ['x'],
    [],
    '',
    5,
    null,
    ['aud1', 5],
    { a: 1 },
  ])
  maybe(0.05, 'nbf', [now - HOUR, now + HOUR, now + 30, 'x', -1, null])
  maybe(0.05, 'iat', [now, now + HOUR, 'x', -1, 1.5])
  maybe(0.05, 'jti', ['j', 5, null, ['j']])
  maybe(0.6, 'grp', ['dev', 'x y', ['dev', 'x'], [], 'x', '', [1, 'dev'], true, { dev: 1 }])
  maybe(0.4, 'words', ['read write', 'read', ['read write'], ' read  x ', 5, ''])
  maybe(0.3, 'scope', ['read', 'read write', ['read'], ['read write']])
  maybe(0.4, 'num', [5, -7, 1.5, 0, 1e21, 2 ** 53 + 2, true, false, null, 1e-7, 123456789012])
  maybe(0.4, 'a', [
    { b: 'v' },
    { b: ['v', 1] },
    { c: { d: 'deep' } },
    'v',
    { b: { z: 1 } },
    { b: true },
  ])
  maybe(0.1, 'a.b', ['dotted'])
  if (draw.chance(0.05)) delete claims['iss']
  if (draw.chance(0.05)) delete claims['sub']
  if (draw.chance(0.05)) delete claims['exp']
  return mangled(draw, { claims })
}

function mangled(draw: Draw, parts: TokenParts): string {
  if (draw.chance(0.75)) return makeToken(parts)
  const good = makeToken(parts)
  const [head = '', payload = '', signature = ''] = good.split('.')
  return draw.pick([
    () => makeToken({ ...parts, header: { kid: undefined } }),
    () => makeToken({ ...parts, header: { kid: 'nobody' } }),
    () => makeToken({ ...parts, header: { kid: 5 } }),
    () => makeToken({ ...parts, key: strangerKey }),
    () => makeToken({ ...parts, key: ecKey, header: { alg: 'ES256', kid: 'k2' } }),
    () => makeToken({ ...parts, header: { alg: 'none' } }),
    () => makeToken({ ...parts, header: { alg: 'RS384' } }),
    () => makeToken({ ...parts, header: { alg: 'HS256' }, key: 'secret' }),
    () => makeToken({ ...parts, header: { alg: 'ES256' } }),
    () => makeToken({ ...parts, header: { alg: 5 } }),
    () => makeToken({ ...parts, header: { alg: undefined } }),
    () => makeToken({ ...parts, header: { alg: 'rs256' } }),
    () => makeToken({ ...parts, header: { crit: ['exp'], exp: 1 } }),
    () => makeToken({ ...parts, header: { typ: 'at+jwt' } }),
    () => makeToken({ headerText: '[]' }),
    () => makeToken({ headerText: '{"alg":"RS256"' }),
    () => makeToken({ payload: '[]' }),
    () => makeToken({ payload: 'x' }),
    () => makeToken({ payload: '{"iss":"iss2","iss":"https://a/b","sub":"u"}' }),
    () => `${head}.${payload}.`,
    () => `${head}.${payload}`,
    () => `${head}.${payload}.${signature}.x`,
    () => `${head}..${signature}`,
    () => `.${payload}.${signature}`,
    () => `${head}.${payload}.${signature}=`,
    () => `${head}=.${payload}.${signature}`,
    () => `${head}.${payload}.${signature.slice(0, -2)}`,
    () => `${head}.${payload}.+${signature.slice(1)}`,
    () => `${head}.${payload}.!!!`,
    () => 'abc',
    () => 'a.b.c',
    () => '..',
  ])()
}
