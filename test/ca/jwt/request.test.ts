/** What a token in a request is worth (istio-semantics §3.3, §3.4, §0.8.21–26; users-and-performance row 48). */
import test from 'ava'
import {
  type Authentication,
  compileTokenRules,
  TOKEN_REFUSALS,
  type TokenRule,
} from '#ca/jwt/request/index.ts'
import {
  ecKey,
  JWKS,
  makeToken,
  rsaJwk,
  rsaPublicPem,
  strangerKey,
  type TokenParts,
} from '#test/fakes/fake-tokens.ts'

const NOW_S = 2_000_000_000
const now = () => Temporal.Instant.fromEpochMilliseconds(NOW_S * 1000)

const rule = (change: Partial<TokenRule> = {}): TokenRule => ({
  issuer: 'iss',
  keys: { kind: 'inline', jwks: JWKS },
  fromHeaders: [],
  fromParams: [],
  fromCookies: [],
  forwardOriginalToken: false,
  outputClaimToHeaders: [],
  spaceDelimitedClaims: ['permission', 'scope'],
  ...change,
})

interface Given {
  readonly method?: string
  readonly target?: string
  readonly headers?: Readonly<Record<string, readonly string[]>>
}

async function ask(rules: readonly TokenRule[], given: Given): Promise<Authentication> {
  const { method = 'GET', target = '/a', headers = {} } = given
  return compileTokenRules(rules, { now })({
    method,
    target,
    header: (name) => headers[name] ?? [],
  })
}

const bearer = (token: string): Given => ({ headers: { authorization: [`Bearer ${token}`] } })

/** The refusal's name, or the claims' subject. */
async function verdict(rules: readonly TokenRule[], given: Given): Promise<unknown> {
  const answer = await ask(rules, given)
  return answer.kind === 'refused' ? answer.reason : (answer.claims?.['sub'] ?? 'nobody')
}

const withAlg = (alg: string, key?: TokenParts['key']): string =>
  makeToken({ header: { alg }, ...(key === undefined ? {} : { key }) })
const claims = (more: object): string => makeToken({ claims: { iss: 'iss', sub: 'u', ...more } })
const parts = makeToken().split('.')

/** Each token, and what becomes of it under one rule for issuer `iss`. */
const TOKENS: Readonly<Record<string, readonly [token: string, verdict: string]>> = {
  '§3.3 RS256': [makeToken(), 'u'],
  '§3.3 ES256': [makeToken({ header: { alg: 'ES256', kid: 'k2' }, key: ecKey }), 'u'],
  '§3.3 no kid tries every key': [makeToken({ header: { kid: undefined } }), 'u'],
  '§3.3 row 12: an unknown kid': [makeToken({ header: { kid: 'k9' } }), 'no-key'],
  'row 48 a kid that is a path': [makeToken({ header: { kid: '../../dev/null' } }), 'no-key'],
  'row 48 a kid that is a URL': [makeToken({ header: { kid: 'https://evil/k1' } }), 'no-key'],
  '§3.3 row 9, row 48: a kid that is no text': [
    makeToken({ header: { kid: ['k1'] } }),
    'kid-not-string',
  ],
  'row 48 a key in the header': [
    makeToken({ header: { jwk: rsaJwk, jku: 'https://evil/' }, key: strangerKey }),
    'signature-wrong',
  ],
  'row 48 alg none, no signature': [`${withAlg('none').split('.', 2).join('.')}.`, 'bad-form'],
  'row 48 alg none, any signature': [withAlg('none'), 'alg-unsupported'],
  'row 48 alg nOnE': [withAlg('nOnE'), 'alg-unsupported'],
  'row 48 HS256 with the RSA key for a secret': [withAlg('HS256', rsaPublicPem), 'signature-wrong'],
  'row 48 HS256 with the modulus for a secret': [
    withAlg('HS256', String(rsaJwk['n'])),
    'signature-wrong',
  ],
  'row 48 HS256 with a key for ES256': [
    makeToken({ header: { alg: 'HS256', kid: 'k2' }, key: 'x' }),
    'no-key',
  ],
  'row 48 ES256 with an RSA key': [withAlg('ES256', ecKey), 'signature-wrong'],
  'row 48 PS256 that was signed as RS256': [withAlg('PS256'), 'signature-wrong'],
  'row 48 crit': [makeToken({ header: { crit: ['exp'], exp: 1 } }), 'signature-wrong'],
  'row 48 crit b64': [makeToken({ header: { crit: ['b64'], b64: false } }), 'signature-wrong'],
  'row 48 a claim twice': [
    makeToken({ payload: '{"iss":"iss","sub":"u","sub":"admin"}' }),
    'payload-not-json',
  ],
  'row 48 a claim twice, once escaped': [
    makeToken({ payload: '{"iss":"iss","sub":"u","\\u0073ub" \n :"admin"}' }),
    'payload-not-json',
  ],
  'row 48 a claim twice, far inside': [
    makeToken({ payload: '{"iss":"iss","sub":"u","a":[{"b":1,"b":2}]}' }),
    'payload-not-json',
  ],
  'row 48 a header twice': [
    makeToken({ headerText: '{"alg":"none","alg":"RS256"}' }),
    'header-not-json',
  ],
  'the same name in two objects': [claims({ a: { b: 1 }, c: [{ b: 1 }, { b: 2 }] }), 'u'],
  'text that looks like a name': [claims({ a: ['b', 'b'], b: 'a:', c: '"b":' }), 'u'],
  'nested too deep': [
    makeToken({ payload: `{"a":${'['.repeat(99)}${']'.repeat(99)}}` }),
    'payload-not-json',
  ],
  'a stranger': [makeToken({ key: strangerKey }), 'signature-wrong'],
  'a changed payload': [
    `${parts[0]}.${claims({ sub: 'x' }).split('.')[1]}.${parts[2]}`,
    'signature-wrong',
  ],
  '§3.3 row 8: two parts': [`${parts[0]}.${parts[1]}`, 'bad-form'],
  'four parts': [`${makeToken()}.x`, 'bad-form'],
  'an empty signature': [`${parts[0]}.${parts[1]}.`, 'bad-form'],
  'one word': ['abc', 'bad-form'],
  '§3.3 row 8: a header that is no base64url': [`a+b.${parts[1]}.${parts[2]}`, 'header-not-base64'],
  'a header that is no JSON': [`abcd.${parts[1]}.${parts[2]}`, 'header-not-json'],
  'a header that is a list': [makeToken({ headerText: '["RS256"]' }), 'header-not-json'],
  '§3.3 row 9: no alg': [makeToken({ header: { alg: undefined } }), 'alg-not-string'],
  '§3.3 row 10: a payload that is no base64url': [
    `${parts[0]}.a=.${parts[2]}`,
    'payload-not-base64',
  ],
  'a payload that is null': [makeToken({ payload: 'null' }), 'payload-not-json'],
  '§3.3 row 10: a signature that is no base64url': [
    `${parts[0]}.${parts[1]}.@@`,
    'signature-not-base64',
  ],
  '§0.8.24 text after the token': [`${makeToken()} x`, 'signature-wrong'],
  'a space inside the signature': [makeToken().replace(/..$/, ' $&'), 'signature-wrong'],
  'a scheme where the token should be alone': [`Tok ${makeToken()}`, 'header-not-json'],
  '§0.8.24 no iss': [makeToken({ claims: { sub: 'u' } }), 'issuer-unknown'],
  '§3.3 row 11: another issuer': [claims({ iss: 'other' }), 'issuer-unknown'],
  'an issuer that is a number': [claims({ iss: 5 }), 'iss-not-string'],
  'a subject that is null': [claims({ sub: null }), 'sub-not-string'],
  'a jti that is a number': [claims({ jti: 5 }), 'jti-not-string'],
  '§0.8.24 a numeric aud': [claims({ aud: 5 }), 'aud-not-string'],
  'an aud with a number in it': [claims({ aud: ['a', 5] }), 'aud-not-string'],
  'exp a minute ago': [claims({ exp: NOW_S - 60 }), 'u'],
  '§3.3 row 7: exp longer ago': [claims({ exp: NOW_S - 61 }), 'expired'],
  'exp as text': [claims({ exp: '1' }), 'exp-not-integer'],
  'exp negative': [claims({ exp: -1 }), 'exp-out-of-range'],
  'exp beyond 64 bits': [claims({ exp: 1e30 }), 'exp-out-of-range'],
  'nbf in a minute': [claims({ nbf: NOW_S + 60 }), 'u'],
  '§3.3 row 7: nbf later': [claims({ nbf: NOW_S + 61 }), 'not-yet-valid'],
  'nbf as text': [claims({ nbf: '1' }), 'nbf-not-integer'],
  'iat as text': [claims({ iat: '1' }), 'iat-not-integer'],
}

for (const [what, [token, wanted]] of Object.entries(TOKENS)) {
  test(`${what} is ${wanted}`, async (t) => {
    t.is(await verdict([rule()], bearer(token)), wanted)
  })
}

test('§3.3 row 11, §0.8.26: bodies are Envoy’s; 403 is for another audience, 401 for all else', async (t) => {
  const refused = await ask([rule({ audiences: ['a'] })], bearer(claims({ aud: 'b' })))
  t.like(refused, { status: 403, message: 'Audiences in Jwt are not allowed' })
  const expired = await ask([rule({ audiences: ['a'] })], bearer(claims({ aud: 'b', exp: 1 })))
  t.like(expired, { status: 401, message: TOKEN_REFUSALS.expired })
})

test('§3.1 row 4: audiences: a scheme and one slash do not count', async (t) => {
  const rules = [rule({ audiences: ['one', 'https://two/'] })]
  for (const aud of ['one', 'one/', 'http://two', ['x', 'two']]) {
    t.is(await verdict(rules, bearer(claims({ aud }))), 'u', String(aud))
  }
  for (const aud of ['one//', 'x', '', [], undefined]) {
    t.is(await verdict(rules, bearer(claims({ aud }))), 'audience-refused', String(aud))
  }
  t.is(await verdict([rule({ audiences: [] })], bearer(claims({ aud: 'x' }))), 'audience-refused')
})

test('§3.3 rows 12, 13, §3.5: keys that are missing or no keys let no token pass, and requests without one', async (t) => {
  const all: readonly (readonly [TokenRule['keys'], string])[] = [
    [{ kind: 'missing' }, 'keys-missing'],
    [{ kind: 'inline', jwks: '<html>' }, 'no-keys'],
    [{ kind: 'inline', jwks: '{"keys":{}}' }, 'no-keys'],
    [{ kind: 'fetched', jwks: '{"keys":[{"kty":"RSA"},7,{"kty":"x"}]}' }, 'no-keys'],
    [{ kind: 'inline', jwks: '{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}' }, 'signature-wrong'],
  ]
  for (const [keys, wanted] of all) {
    t.is(await verdict([rule({ keys })], bearer(makeToken())), wanted)
    // §3.3 row 1 as well: no token is no refusal.
    t.is(await verdict([rule({ keys })], {}), 'nobody')
  }
})

test('row 48 a shared secret counts inline, and never from a URI (users §2.3.48)', async (t) => {
  const jwks = JSON.stringify({
    keys: [{ kty: 'oct', k: Buffer.from('s'.repeat(32)).toString('base64url') }],
  })
  const token = withAlg('HS256', 's'.repeat(32))
  t.is(await verdict([rule({ keys: { kind: 'inline', jwks } })], bearer(token)), 'u')
  t.is(await verdict([rule({ keys: { kind: 'fetched', jwks } })], bearer(token)), 'no-keys')
})

test('§3.3 row 1: default places: Authorization, then access_token', async (t) => {
  const token = makeToken()
  for (const [value, wanted] of [
    [`Bearer ${token}`, 'u'],
    [`Bearer    ${token}`, 'u'],
    [`x Bearer ${token}`, 'u'],
    [`bearer ${token}`, 'nobody'],
    ['', 'nobody'],
    [`Bearer\t${token}`, 'nobody'],
    [`Bearer${token}`, 'nobody'],
    ['Basic abc', 'nobody'],
    ['Bearer @@', 'bad-form'],
  ] as const) {
    t.is(await verdict([rule()], { headers: { authorization: [value] } }), wanted, value)
  }
  t.is(await verdict([rule()], { headers: { authorization: ['Basic x', `Bearer ${token}`] } }), 'u')
  t.is(await verdict([rule()], { target: `/a?b=c&access_token=${token}` }), 'u')
  t.is(await verdict([rule()], { target: `/a?acc%65ss_token=${token}&access_token=x` }), 'u')
  t.is(await verdict([rule()], { target: `/a?access_token=&access_token=${token}` }), 'bad-form')
  t.is(await verdict([rule()], { target: `/a?access_token=x`, ...bearer(token) }), 'bad-form')
})

test('§3.1 rows 7, 8, 9, §3.3: as soon as one place is listed, no other is searched', async (t) => {
  const token = makeToken()
  const rules = [rule({ fromHeaders: [{ name: 'x-tok', prefix: 'Tok ' }], fromCookies: ['c'] })]
  t.is(await verdict(rules, bearer(token)), 'nobody')
  t.is(await verdict(rules, { headers: { 'x-tok': [`Tok ${token}`] } }), 'u')
  t.is(await verdict(rules, { headers: { 'x-tok': [token] } }), 'nobody')
  t.is(await verdict(rules, { headers: { cookie: [`a=b; c=${token}; c=x`] } }), 'u')
  t.is(await verdict(rules, { headers: { cookie: [`c="${token}"`] } }), 'u')
  t.is(await verdict(rules, { headers: { cookie: ['c=x', `c=${token}`] } }), 'bad-form')
})

test('§3.1 row 9: spaces before the name of a cookie are none of it, those behind it are', async (t) => {
  const token = makeToken()
  const rules = [rule({ fromCookies: ['c'] })]
  const asked = (cookie: string) => verdict(rules, { headers: { cookie: [cookie] } })
  for (const cookie of [`  c=${token}`, `a=1;  c=${token}`, `c=${token} ; a=1`, `;;c="${token}"`])
    t.is(await asked(cookie), 'u', cookie)
  for (const cookie of [`c =${token}`, `a=1;\tc=${token}`, `x, c=${token}`, `C=${token}`])
    t.is(await asked(cookie), 'nobody', cookie)
})

test('§3.1 row 8: a parameter is named in UTF-8', async (t) => {
  const rules = [rule({ fromParams: ['é b'] })]
  t.is(await verdict(rules, { target: `/a?%C3%A9%20b=${makeToken()}` }), 'u')
  t.is(await verdict(rules, { target: `/a?%E9%20b=${makeToken()}` }), 'nobody')
})

test('§0.8.22, §3.4: a header that a rule answers in is gone before any rule looks for tokens', async (t) => {
  const token = makeToken()
  const places = { fromHeaders: [{ name: 'h', prefix: '' }] }
  const given = { headers: { h: [token], authorization: [`Bearer ${token}`] } }
  const claim = { outputClaimToHeaders: [{ header: 'h', claim: 'sub' }] }
  t.is(await verdict([rule({ ...places, ...claim })], given), 'nobody')
  t.is(await verdict([rule({ ...places, outputPayloadToHeader: 'h' })], given), 'nobody')
  const bad = { headers: { h: ['abc'] } }
  t.is(await verdict([rule({ ...places, ...claim })], bad), 'nobody', 'nor is it refused')
  const other = rule({ issuer: 'other', ...claim })
  t.is(await verdict([rule(places), other], { headers: { h: [token] } }), 'nobody')
  t.is(await verdict([rule(claim)], given), 'u', 'other places are as they were')
})

test('§0.8.24 all tokens of a rule must verify, and the first one found is who it is', async (t) => {
  const rules = [rule({ fromHeaders: [{ name: 'h', prefix: '' }], fromParams: ['p'] })]
  const both = (h: string, p: string): Given => ({ target: `/?p=${p}`, headers: { h: [h] } })
  t.is(await verdict(rules, both(claims({ sub: 'h' }), claims({ sub: 'p' }))), 'h')
  t.is(await verdict(rules, both(makeToken(), 'abc')), 'bad-form')
  t.is(await verdict(rules, both('abc', claims({ exp: 1 }))), 'expired')
})

const three = [
  rule({ issuer: 'one', fromHeaders: [{ name: 'h1', prefix: '' }] }),
  rule({ issuer: 'two', fromHeaders: [{ name: 'h2', prefix: '' }] }),
  rule({ issuer: 'three', fromHeaders: [{ name: 'h3', prefix: '' }] }),
]

test('§3.3 rows 2, 4, 5: several rules: one that is satisfied is enough, and what is told when none is', async (t) => {
  const told = (headers: Readonly<Record<string, string>>) =>
    verdict(three, {
      headers: Object.fromEntries(Object.entries(headers).map(([name, text]) => [name, [text]])),
    })
  const good = claims({ iss: 'two' })
  t.is(await told({ h1: 'abc', h2: good }), 'u')
  t.is(
    await told({ h1: claims({ iss: 'zz' }), h2: claims({ iss: 'two', exp: 1 }), h3: 'abc' }),
    'bad-form',
  )
  t.is(
    await told({ h1: claims({ iss: 'zz' }), h2: 'abc', h3: claims({ iss: 'three', exp: 1 }) }),
    'expired',
  )
  t.is(await told({ h2: 'abc', h3: claims({ iss: 'three', exp: 1 }) }), 'bad-form')
  t.is(await told({ h1: claims({ iss: 'zz' }), h3: claims({ iss: 'zz' }) }), 'issuer-unknown')
  t.is(await told({ h1: good }), 'issuer-unknown')
  t.is(await told({}), 'nobody')
})

/** Two rules that look in the same places, for issuers `one` and `two`. */
const pairOf = (one: Partial<TokenRule> = {}, two: Partial<TokenRule> = {}) => [
  rule({ issuer: 'one', ...one }),
  rule({ issuer: 'two', ...two }),
]

/** In `Authorization` and in `access_token`. */
const crossed = (inHeader: string, inQuery: string): Given => ({
  target: `/a?access_token=${claims({ iss: inQuery, sub: inQuery })}`,
  headers: { authorization: [`Bearer ${claims({ iss: inHeader, sub: inHeader })}`] },
})

test('§3.3 row 4, §0.8.23: a token that one rule has verified and does not forward is none to the others', async (t) => {
  t.is(await verdict(pairOf(), crossed('one', 'two')), 'one')
  t.is(await verdict(pairOf(), crossed('two', 'one')), 'two')
  const kept = { forwardOriginalToken: true }
  t.is(await verdict(pairOf(kept, kept), crossed('one', 'two')), 'issuer-unknown')
  t.is(await verdict(pairOf(kept), crossed('one', 'two')), 'issuer-unknown')
  t.is(await verdict(pairOf({}, kept), crossed('one', 'two')), 'issuer-unknown')
  t.is(await verdict(pairOf(), crossed('one', 'three')), 'issuer-unknown')
  t.like(await ask(pairOf(), crossed('one', 'two')), { dropped: ['authorization'], target: '/a' })
  // The second rule would say of `access_token` that it is for another audience.
  const rules = [...pairOf(), rule({ issuer: 'two', audiences: ['x'] })]
  t.is(await verdict(rules, crossed('zz', 'two')), 'issuer-unknown')
})

test('§3.3 row 4, §0.8.24: lines of a header go together once one of them is verified, where several rules stand', async (t) => {
  const one = { fromHeaders: [{ name: 'h', prefix: '' }] }
  const lines = { headers: { h: ['abc', claims({ iss: 'one' })] } }
  t.is(await verdict([rule({ ...one, issuer: 'one' })], lines), 'bad-form')
  t.is(await verdict(pairOf(one), lines), 'u')
  t.like(await ask(pairOf(one), lines), { kind: 'passed', dropped: ['h'] })
  t.is(await verdict(pairOf({ ...one, forwardOriginalToken: true }), lines), 'bad-form')
})

test('§3.4 row 3: what tokens add stays, unless a rule of the same header is asked after it', async (t) => {
  const outputs = (header: string) => ({ outputClaimToHeaders: [{ header, claim: 'iss' }] })
  const added = async (rules: readonly TokenRule[], given: Given) => {
    const answer = await ask(rules, given)
    return answer.kind === 'passed'
      ? answer.added.map(({ name, value }) => `${name}: ${value}`)
      : []
  }
  t.deepEqual(await added(pairOf(outputs('x-a'), outputs('x-b')), crossed('one', 'two')), [
    'x-a: one',
  ])
  const other = { fromHeaders: [{ name: 'h', prefix: '' }] }
  const { headers, target = '' } = crossed('zz', 'one')
  const given = { target, headers: { ...headers, h: [claims({ iss: 'two' })] } }
  const both = await added(pairOf(outputs('x-a'), { ...outputs('x-b'), ...other }), given)
  t.deepEqual(both, ['x-a: one', 'x-b: two'])
  const same = await added(pairOf(outputs('x-a'), { ...outputs('x-a'), ...other }), given)
  t.deepEqual(same, ['x-a: two'])
})

test('§3.3 two rules for one issuer, and one for any', async (t) => {
  const rules = [rule({ audiences: ['a'] }), rule({ audiences: ['b'] })]
  t.is(await verdict(rules, bearer(claims({ aud: 'b' }))), 'u')
  t.is(await verdict(rules, bearer(claims({ aud: 'c' }))), 'audience-refused')
  const { issuer: _, ...any } = rule()
  t.is(await verdict([any], bearer(makeToken({ claims: { sub: 'x' } }))), 'x')
})

test('§3.3 row 6: a CORS preflight is asked for no token, and still loses what only we may say', async (t) => {
  const rules = [rule({ outputClaimToHeaders: [{ header: 'x-sub', claim: 'sub' }] })]
  const cors = { origin: ['https://o'], 'access-control-request-method': ['GET'] }
  const given = { method: 'OPTIONS', headers: { ...cors, authorization: ['Bearer abc'] } }
  t.like(await ask(rules, given), { kind: 'passed', claims: undefined, dropped: ['x-sub'] })
  t.is(await verdict(rules, { ...given, method: 'GET' }), 'bad-form')
  const halfway = { origin: ['https://o'], authorization: ['Bearer abc'] }
  t.is(await verdict(rules, { method: 'OPTIONS', headers: halfway }), 'bad-form')
})

test('§0.8.23 the token goes no further unless told so, and from a cookie always', async (t) => {
  const token = makeToken()
  const places = { fromHeaders: [{ name: 'h', prefix: '' }], fromParams: ['p'], fromCookies: ['c'] }
  const given = {
    target: `/a?b=%2f&p=${token}&c=d+e&%70=x`,
    headers: { h: [token], cookie: [`c=${token}`] },
  }
  t.like(await ask([rule(places)], given), { dropped: ['h'], target: '/a?b=%2f&c=d+e' })
  const forwarded = await ask([rule({ ...places, forwardOriginalToken: true })], given)
  t.like(forwarded, { dropped: [], target: undefined })
  t.like(await ask([rule(places)], { target: `/a?p=${token}` }), { target: '/a' })
})

test('§3.4 rows 2, 3, §3.1 rows 10, 12, §0.8.22: payload and claims become headers, and a client’s own never pass for them', async (t) => {
  const outputs = 'sub n f neg zero yes nul none lst obj in.x a.b uni crlf'.split(' ')
  const rules = [
    rule({
      outputPayloadToHeader: 'x-pay',
      outputClaimToHeaders: outputs.map((claim, at) => ({ header: `x-${at}`, claim })),
    }),
  ]
  const token = claims({
    n: 5,
    f: 1.5,
    neg: -7,
    zero: 0,
    yes: true,
    nul: null,
    none: '',
    lst: ['a', 1, true],
    obj: { z: 1 },
    in: { x: 'y' },
    'a.b': 'q',
    uni: 'é',
    crlf: 'a\r\nx-evil: 1',
  })
  const answer = await ask(rules, bearer(token))
  if (answer.kind === 'refused') return t.fail(answer.reason)
  t.deepEqual(
    answer.added.map(({ name, value }) => [name, value]),
    [
      ['x-pay', token.split('.')[1]],
      ['x-0', 'u'],
      ['x-1', '5'],
      ['x-2', '1.500000'],
      ['x-3', '-7.000000'],
      ['x-4', '0'],
      ['x-5', 'true'],
      ['x-8', 'WyJhIiwxLHRydWVd'],
      ['x-9', 'eyJ6IjoxfQ=='],
      ['x-10', 'y'],
      ['x-12', 'Ã©'],
    ],
  )
  t.is(answer.dropped.length, outputs.length + 2)
  t.like(await ask(rules, {}), { dropped: ['x-pay', ...outputs.map((_, at) => `x-${at}`)] })
})

test('§3.1 row 14: space-delimited claims become lists of words', async (t) => {
  const rules = [rule({ spaceDelimitedClaims: ['scope', 'roles'] })]
  const token = claims({ scope: ' a  b', roles: 'c', other: 'd e', in: { scope: 'a b' } })
  const answer = await ask(rules, bearer(token))
  t.like(answer, { claims: { other: 'd e', in: { scope: 'a b' } } })
  t.deepEqual(answer.kind === 'passed' && answer.claims?.['scope'], ['a', 'b'])
  t.deepEqual(answer.kind === 'passed' && answer.claims?.['roles'], ['c'])
  const blank = await ask(rules, bearer(claims({ scope: ' ' })))
  t.like(blank, { claims: { scope: ' ' } })
})

test('a token that was verified is answered at once until it expires, one that was not never is', async (t) => {
  let seconds = NOW_S
  const authenticate = compileTokenRules([rule()], {
    now: () => Temporal.Instant.fromEpochMilliseconds(seconds * 1000),
  })
  const header = (token: string) => (name: string) =>
    name === 'authorization' ? [`Bearer ${token}`] : []
  const good = { method: 'GET', target: '/', header: header(claims({ exp: NOW_S + 5 })) }
  t.like(await authenticate(good), { kind: 'passed' })
  t.like(authenticate(good), { kind: 'passed', claims: { sub: 'u' } })
  seconds += 66
  t.like(authenticate(good), { kind: 'refused', reason: 'expired' })
  const bad = { ...good, header: header(makeToken({ key: strangerKey })) }
  t.like(await authenticate(bad), { reason: 'signature-wrong' })
  t.true(authenticate(bad) instanceof Promise)
})

test('a key that is not in a fetched set is told of, so that the set is fetched anew', async (t) => {
  const told: unknown[] = []
  const ask = (one: TokenRule, token: string) => {
    const authenticate = compileTokenRules([one], {
      now: () => Temporal.Instant.fromEpochMilliseconds(NOW_S * 1000),
      onUnknownKey: (each) => told.push(each.issuer),
    })
    const header = (name: string) => (name === 'authorization' ? [`Bearer ${token}`] : [])
    return authenticate({ method: 'GET', target: '/', header })
  }
  const fetched = rule({ keys: { kind: 'fetched', jwks: JWKS } })
  const rotated = makeToken({ header: { kid: 'next' } })
  t.like(await ask(fetched, rotated), { kind: 'refused', reason: 'no-key' })
  t.deepEqual(told, ['iss'])
  t.like(await ask(rule(), rotated), { reason: 'no-key' })
  t.like(await ask(fetched, makeToken({ key: strangerKey })), { reason: 'signature-wrong' })
  t.like(await ask(fetched, claims({ iss: 'other' })), { reason: 'issuer-unknown' })
  t.like(await ask(fetched, claims({})), { kind: 'passed' })
  t.deepEqual(told, ['iss'], 'nothing of it is for newer keys to mend')
})

test('4,096 rules and one token end in an answer', async (t) => {
  const rules = Array.from({ length: 4096 }, (_, at) => rule({ issuer: `i${at}` }))
  t.is(await verdict(rules, bearer(claims({ iss: 'i4095' }))), 'u')
  t.is(await verdict(rules, bearer(makeToken())), 'issuer-unknown')
})

test('§3.3 row 3, §0.8.24: each line of a header is a token of its own: all must verify, and all say who it is for', async (t) => {
  const own = rule({
    fromHeaders: [{ name: 'x-tok', prefix: 'Tok ' }],
    outputClaimToHeaders: [{ header: 'x-sub', claim: 'sub' }],
  })
  const lines = (...values: readonly string[]): Given => ({ headers: { 'x-tok': values } })
  const [ann, bob] = [`Tok ${claims({ sub: 'ann' })}`, `Tok ${claims({ sub: 'bob' })}`]
  t.is(await verdict([own], lines(ann, 'Tok abc')), 'bad-form')
  t.is(await verdict([own], lines('abc', ann)), 'ann')
  const answer = await ask([own], lines(ann, bob))
  t.like(answer, { kind: 'passed', claims: { sub: 'ann' } })
  // Envoy begins with the last.
  const added = answer.kind === 'passed' ? answer.added : []
  t.deepEqual(
    added.map(({ name, value }) => [name, value]),
    [
      ['x-sub', 'bob'],
      ['x-sub', 'ann'],
    ],
  )
})

test('§0.8.26 faults of a payload are told in the order in which Envoy finds them', async (t) => {
  const all = { sub: 5, iat: 'x', nbf: null, exp: 'x', jti: ['j'], aud: 5 }
  const names = Object.keys(all) as (keyof typeof all)[]
  const told = await Promise.all(
    names.map((_, at) => {
      const faulty = Object.fromEntries(names.slice(at).map((one) => [one, all[one]]))
      return verdict([rule()], bearer(claims(faulty)))
    }),
  )
  t.deepEqual(told, [
    'sub-not-string',
    'iat-not-integer',
    'nbf-not-integer',
    'exp-not-integer',
    'jti-not-string',
    'aud-not-string',
  ])
})

test('§0.8.26 empty parts of a token are told late, and never verify', async (t) => {
  t.is(await verdict([rule()], bearer(`${makeToken()}.`)), 'signature-wrong')
  t.is(await verdict([rule()], bearer(`${makeToken()}.x`)), 'bad-form')
})

test('§0.8.22 white space around a claim does not come along into its header', async (t) => {
  const own = rule({ outputClaimToHeaders: [{ header: 'x-a', claim: 'a' }] })
  const answer = await ask([own], bearer(claims({ a: '  b c ' })))
  t.deepEqual(answer.kind === 'passed' && answer.added, [{ name: 'x-a', value: 'b c' }])
  const empty = await ask([own], bearer(claims({ a: '  ' })))
  t.deepEqual(empty.kind === 'passed' && empty.added, [])
})
