import test from 'ava'
import { readFileSync, writeFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { parseSpiffeId, parseTrustDomain } from '#ca/spiffe/index.ts'
import { compileAuthorization, linesOf, lineToColumns, MODELS } from '#policy/casbin/index.ts'
import type { AuthorizationPolicy, Connection, HttpAttributes } from '#policy/model/index.ts'
import { connection, http, policies, trust, unfold } from '../random-authorization.ts'

const trustDomain = parseTrustDomain('cluster.local')
const compile = (
  list: readonly AuthorizationPolicy[],
  options?: Parameters<typeof compileAuthorization>[1],
) => compileAuthorization({ policies: list, trustDomain, trustDomainAliases: [] }, options)

const web: Connection = {
  peer: parseSpiffeId('spiffe://cluster.local/ns/app/sa/web'),
  sourceIp: '10.0.0.1',
  destinationIp: '10.0.0.2',
  destinationPort: 8080,
  sni: undefined,
}
const get: HttpAttributes = {
  method: 'GET',
  path: '/a',
  host: 'web.app',
  remoteIp: '10.0.0.1',
  header: () => [],
  claims: undefined,
}
const allowWeb: AuthorizationPolicy = {
  namespace: 'app',
  name: 'allow-web',
  action: 'ALLOW',
  dryRun: false,
  rules: [{ from: [{ serviceAccounts: ['web'] }], to: [{ methods: ['GET'], paths: ['/a'] }] }],
}

test('MODELS are what the .conf files say', (t) => {
  const path = 'policy/casbin/models.ts'
  const source = readFileSync(path, 'utf8')
  const confs = Object.keys(MODELS).map((action) => {
    return [action, readFileSync(`policy/casbin/${action.toLowerCase()}.conf`, 'utf8')] as const
  })
  if (process.env['UPDATE_GOLDEN']) {
    const head = source.slice(0, source.indexOf('= {') + 4)
    const entries = confs.map(([action, text]) => `  ${action}: \`${text}\`,\n`).join('')
    writeFileSync(path, `${head}${entries}}\n`)
  }
  t.deepEqual(MODELS, Object.fromEntries(confs) as never)
})

test('no model has what is forbidden: a negated effect, eval, library matchers', (t) => {
  for (const [action, text] of Object.entries(MODELS)) {
    t.regex(text, /^e = some\(where \(p\.eft == allow\)\)$/m, action)
    t.notRegex(text.replace(/^#.*$/gm, ''), /eval|!|keyMatch|regexMatch|deny/, action)
  }
})

test('linesOf() writes one line a source, in columns that can be read', (t) => {
  const rules = [
    { ...allowWeb.rules[0], from: [{ serviceAccounts: ['web'] }, { namespaces: ['x'] }] },
  ]
  const lines = linesOf({ ...allowWeb, rules: [...rules, {}] }, { chain: 'http', trustDomains: [] })
  t.deepEqual(lines.map(lineToColumns), [
    [
      'app/allow-web',
      '0',
      '{"serviceAccounts":["app/web"]}',
      '[{"methods":["GET"],"paths":["/a"]}]',
      '*',
    ],
    ['app/allow-web', '0', '{"namespaces":["x"]}', '[{"methods":["GET"],"paths":["/a"]}]', '*'],
    ['app/allow-web', '1', '*', '*', '*'],
  ])
})

test('Casbin decides: with the matcher false every ALLOW becomes a denial', (t) => {
  const anything: AuthorizationPolicy = { ...allowWeb, name: 'all', rules: [{}] }
  for (const list of [[], [allowWeb], [anything], [allowWeb, anything]]) {
    t.is(compile(list)(web)(get).kind, 'allow')
    const decision = compile(list, { matcher: 'false' })(web)(get)
    t.like(decision, { kind: 'deny', reason: 'no-allow-matched' }, `${list.length} policies`)
    t.is(compile(list, { matcher: 'false' })(web)(undefined).kind, 'deny')
  }
})

test('Casbin decides: with the matcher false nothing random is allowed, nor denied by DENY', (t) => {
  const property = (): void =>
    fc.assert(
      fc.property(policies, trust, connection, http, (list, domains, peer, request) => {
        const engine = compileAuthorization({ policies: list, ...domains }, { matcher: 'false' })
        const decision = engine(peer)(request)
        return decision.kind === 'deny' && decision.reason !== 'denied-by-policy'
      }),
      { numRuns: 300 },
    )
  t.notThrows(property)
})

test('with the matcher true every DENY policy denies', (t) => {
  const deny: AuthorizationPolicy = { ...allowWeb, name: 'd', action: 'DENY' }
  t.is(compile([deny])(web)({ ...get, path: '/b' }).kind, 'allow')
  t.like(compile([deny], { matcher: 'true' })(web)({ ...get, path: '/b' }), {
    reason: 'denied-by-policy',
  })
})

test('removing the decision cache changes no decision', (t) => {
  const several = fc.array(fc.tuple(connection, http), { minLength: 4, maxLength: 8 })
  const property = (): void =>
    fc.assert(
      fc.property(policies, trust, several, (list, domains, attempts) => {
        const input = { policies: list, ...domains }
        const cached = compileAuthorization(input)
        const tiny = compileAuthorization(input, { cacheEntries: 1 })
        const plain = compileAuthorization(input, { cacheEntries: 0 })
        // Twice, so that the second round is answered from memory.
        return [...attempts, ...attempts].every(([peer, request]) => {
          const decision = unfold(plain(peer)(request))
          return [cached, tiny].every((engine) => {
            return isDeepStrictEqual(decision, unfold(engine(peer)(request)))
          })
        })
      }),
      { numRuns: 400 },
    )
  t.notThrows(property)
})

test('a decision reads only what its lines name, and remembers by just that', (t) => {
  const reads: string[] = []
  const watched = new Proxy(get, {
    get(target, name, receiver) {
      reads.push(String(name))
      return Reflect.get(target, name, receiver)
    },
  })
  const byMethod: AuthorizationPolicy = { ...allowWeb, rules: [{ to: [{ methods: ['GET'] }] }] }
  const decide = compile([byMethod])(web)
  const first = decide(watched)
  t.deepEqual([...new Set(reads)], ['method'])
  t.is(decide({ ...get, path: '/another', host: 'x' }), first)
  t.not(decide({ ...get, method: 'PUT' }), first)
})

test('lines that a connection cannot match are left out: nothing of a request is read for them', (t) => {
  const foreign: AuthorizationPolicy = {
    ...allowWeb,
    rules: [
      {
        from: [{ serviceAccounts: ['other'] }],
        when: [{ key: 'request.headers[x]', values: ['v'] }],
      },
    ],
  }
  const header = (): readonly string[] => {
    throw new Error('not to be read')
  }
  t.like(compile([foreign])(web)({ ...get, header }), { reason: 'no-allow-matched' })
  const deny: AuthorizationPolicy = { ...foreign, action: 'DENY' }
  t.is(compile([deny])(web)({ ...get, header }).kind, 'allow')
})

test('values that look like several do not share a remembered decision', (t) => {
  const rule = {
    when: [
      { key: 'request.headers[a]', values: ['x'] },
      { key: 'request.headers[b]', values: ['y'] },
    ],
  }
  const decide = compile([{ ...allowWeb, rules: [rule] }])(web)
  const asked = (a: readonly string[], b: readonly string[]) =>
    decide({ ...get, header: (name) => (name === 'a' ? a : b) }).kind
  t.is(asked(['x'], ['y']), 'allow')
  t.is(asked(['x1:y'], []), 'deny')
  t.is(asked(['x'], []), 'deny')
  t.is(asked(['x', 'y'], []), 'deny')
  t.is(asked([], ['x', 'y']), 'deny')
})

test('narrowing by connection: one engine answers each peer by its own lines', (t) => {
  const engine = compile([allowWeb])
  const other = { ...web, peer: parseSpiffeId('spiffe://cluster.local/ns/app/sa/other') }
  for (let round = 0; round < 3; round += 1) {
    t.is(engine(web)(get).kind, 'allow')
    t.is(engine(other)(get).kind, 'deny')
    t.is(engine({ ...web, peer: undefined })(get).kind, 'deny')
  }
})

test('narrowing by port: alternatives of one rule are kept apart', (t) => {
  const rules = [
    {
      to: [
        { ports: ['8080'], paths: ['/a'] },
        { ports: ['81'], paths: ['/b'] },
      ],
    },
  ]
  const engine = compile([{ ...allowWeb, rules }])
  const at81 = { ...web, destinationPort: 81 }
  t.is(engine(web)(get).kind, 'allow')
  t.is(engine(at81)(get).kind, 'deny')
  t.is(engine(at81)({ ...get, path: '/b' }).kind, 'allow')
  t.is(engine(web)({ ...get, path: '/b' }).kind, 'deny')
})

test('after all policies are gone a new engine allows again (users §1.4.38) (istio/istio#53071)', (t) => {
  t.is(compile([{ ...allowWeb, rules: [] }])(web)(get).kind, 'deny')
  t.is(compile([])(web)(get).kind, 'allow')
})

test('a fault in what only reports is no denial', (t) => {
  const audit: AuthorizationPolicy = {
    ...allowWeb,
    action: 'AUDIT',
    rules: [{ when: [{ key: 'request.headers[x]', values: ['v'] }] }],
  }
  const header = (): readonly string[] => {
    throw new Error('no such line')
  }
  // The key of the cache reads it too; both are faults of reading, and reading is what failed.
  t.is(compile([audit], { cacheEntries: 0 })(web)({ ...get, header }).kind, 'allow')
})

/** Each is a policy that compiles with one thing wrong. */
const wrong: Readonly<Record<string, [object, string, string]>> = {
  'a source field': [
    { rules: [{ from: [{ audiences: ['x'] }] }] },
    'the field "audiences" is not known',
    '/rules/0/from/0/audiences',
  ],
  'an operation field': [
    { rules: [{}, { to: [{ path: ['/a'] }] }] },
    'the field "path" is not known',
    '/rules/1/to/0/path',
  ],
  'a part of a rule': [
    { rules: [{ unless: [] }] },
    'the field "unless" is not known',
    '/rules/0/unless',
  ],
  'a condition key': [
    { rules: [{ when: [{ key: 'request.body', notValues: ['x'] }] }] },
    'nothing is known as "request.body"',
    '/rules/0/when/0/key',
  ],
  'an inherited name as key': [
    { rules: [{ when: [{ key: 'toString', notValues: ['x'] }] }] },
    'nothing is known as "toString"',
    '/rules/0/when/0/key',
  ],
  'CUSTOM without a provider': [
    { action: 'CUSTOM' },
    'a provider is for CUSTOM, and CUSTOM wants one',
    '/provider',
  ],
}
for (const [what, [change, why, pointer]] of Object.entries(wrong)) {
  test(`compileAuthorization() refuses ${what} that has no meaning`, (t) => {
    const policy = { ...allowWeb, ...change } as AuthorizationPolicy
    const error = t.throws(() => compile([policy]), { name: 'PolicyError' })
    t.like(error, {
      code: 'POLICY_RULE_INVALID',
      pointer,
      message: `Cannot compile policy app/allow-web: ${why}`,
    })
  })
}
