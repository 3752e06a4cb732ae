/** An operator's own Casbin model and lines: what it decides, what is refused, and within which bounds. */
import test from 'ava'
import type { SpiffeId } from '#ca/spiffe/index.ts'
import {
  compileOperatorPolicy,
  readOperatorModel,
  readPolicyLines,
} from '#policy/casbin/operator/index.ts'
import type { Connection, HttpAttributes } from '#policy/model/index.ts'
import { cpuStopwatch } from '../../fakes/cpu-time.ts'
import { ROLES } from '../../fakes/roles-model.ts'

interface Asked {
  readonly peer?: string
  readonly method?: string
  readonly path?: string
  readonly host?: string
  readonly sourceIp?: string
  readonly headers?: Readonly<Record<string, readonly string[]>>
  readonly tcp?: boolean
}

function decider(
  model: string,
  policy: string,
  { request = {}, timeMs = 1000, nowMs = () => 0 } = {} as {
    readonly request?: Readonly<Record<string, string>>
    readonly timeMs?: number
    readonly nowMs?: () => number
  },
): (asked?: Asked) => boolean {
  const read = readOperatorModel(model, request)
  if (read.kind === 'faulty') throw new Error(JSON.stringify(read.faults))
  const rows = readPolicyLines(policy, read.model)
  if (rows.kind === 'faulty') throw new Error(JSON.stringify(rows.faults))
  const decide = compileOperatorPolicy({ model, lines: rows.rows, request, timeMs }, nowMs)
  return (asked = {}) => decide(attempt(asked)).allowed
}

function attempt(asked: Asked): { connection: Connection; http: HttpAttributes | undefined } {
  const { peer = 'spiffe://cluster.local/ns/shop/sa/web', headers = {} } = asked
  return {
    connection: {
      peer: peer === '' ? undefined : (peer as SpiffeId),
      sourceIp: asked.sourceIp ?? '10.0.0.1',
      destinationIp: '10.0.0.2',
      destinationPort: 8080,
      sni: undefined,
    },
    http: asked.tcp
      ? undefined
      : {
          method: asked.method ?? 'GET',
          path: asked.path ?? '/',
          host: asked.host ?? 'cart',
          remoteIp: asked.sourceIp ?? '10.0.0.1',
          header: (name) => headers[name] ?? [],
          claims: undefined,
        },
  }
}

test('RBAC with a hierarchy of roles', (t) => {
  const ask = decider(
    ROLES,
    `
    p, reader, /orders/{*}, GET
    p, admin, /orders/{**}, DELETE
    g, admin, reader
    g, cluster.local/ns/shop/sa/web, admin
    g, cluster.local/ns/shop/sa/cart, reader
    `,
  )
  const cart = 'spiffe://cluster.local/ns/shop/sa/cart'
  t.true(ask({ path: '/orders/1' }))
  t.true(ask({ path: '/orders/1/items', method: 'DELETE' }))
  t.false(ask({ path: '/orders/1/items' }))
  t.true(ask({ peer: cart, path: '/orders/1' }))
  t.false(ask({ peer: cart, path: '/orders/1', method: 'DELETE' }))
  t.false(ask({ peer: 'spiffe://cluster.local/ns/shop/sa/none', path: '/orders/1' }))
  t.false(ask({ peer: '', path: '/orders/1' }))
})

test('RBAC with domains: a role holds in its domain alone', (t) => {
  const model = ROLES.replace('sub, obj, act', 'sub, dom, obj, act')
    .replace('p = sub, obj, act', 'p = sub, dom, obj, act')
    .replace('g = _, _', 'g = _, _, _')
    .replace('g(r.sub, p.sub) &&', 'g(r.sub, p.sub, r.dom) && r.dom == p.dom &&')
  const ask = decider(
    model,
    'p, admin, red, /a, GET\np, admin, blue, /a, GET\ng, ann, admin, red',
    { request: { sub: 'request.headers[x-user]', dom: 'request.headers[x-tenant]' } },
  )
  const as = (tenant: string) =>
    ask({ path: '/a', headers: { 'x-user': ['ann'], 'x-tenant': [tenant] } })
  t.true(as('red'))
  t.false(as('blue'))
})

test('ABAC over the attributes of a request, without lines', (t) => {
  const ask = decider(
    `
    [request_definition]
    r = req
    [policy_definition]
    p = none
    [policy_effect]
    e = some(where (p.eft == allow))
    [matchers]
    m = r.req.namespace == "shop" && (r.req.method == 'GET' || ipInRange(r.req.sourceIp, "10.0.0.0/8")) \\
        && r.req.headers["x-tier"] != "free" && r.req.port == 8080
    `,
    '',
  )
  t.true(ask({ method: 'GET', sourceIp: '192.168.0.1' }))
  t.true(ask({ method: 'POST' }))
  t.false(ask({ method: 'POST', sourceIp: '192.168.0.1' }))
  t.false(ask({ headers: { 'x-tier': ['free'] } }))
  t.false(ask({ peer: '' }))
})

test('a deny overrides, and the first priority decides', (t) => {
  const model = ROLES.replace('p = sub, obj, act', 'p = sub, obj, act, eft')
  const overriding = decider(
    model.replace(
      'e = some(where (p.eft == allow))',
      'e = some(where (p.eft == allow)) && !some(where (p.eft == deny))',
    ),
    'p, cluster.local/ns/shop/sa/web, /{**}, GET, allow\np, cluster.local/ns/shop/sa/web, /secret, GET, deny',
  )
  t.true(overriding({ path: '/a' }))
  t.false(overriding({ path: '/secret' }))
  const first = decider(
    model
      .replace('p = sub, obj, act, eft', 'p = priority, sub, obj, act, eft')
      .replace('some(where (p.eft == allow))', 'priority(p.eft) || deny'),
    'p, 10, cluster.local/ns/shop/sa/web, /a, GET, deny\np, 2, cluster.local/ns/shop/sa/web, /a, GET, allow',
  )
  t.true(first({ path: '/a' }))
  t.false(first({ path: '/b' }))
})

test('without a line nothing passes, and what a request lacks equals no column', (t) => {
  const ask = decider(ROLES, '')
  t.false(ask({ peer: '', path: '/' }))
  const plain = ROLES.replace('g(r.sub, p.sub)', 'r.sub == p.sub')
  t.false(decider(plain, '')({ peer: '' }))
  t.false(decider(plain, '')({ peer: '', tcp: true }))
  t.throws(() => readLines(ROLES, 'p, , /a, GET'), { message: /line 1.*column 1/s })
})

function readLines(model: string, text: string): void {
  const read = readOperatorModel(model)
  if (read.kind === 'faulty') throw new Error('the model is faulty')
  const lines = readPolicyLines(text, read.model)
  if (lines.kind === 'read') return
  throw new Error(lines.faults.map(({ line, message }) => `line ${line}: ${message}`).join('\n'))
}

/** Each is the model with one thing wrong: at which line, and a word of what is said. */
const REFUSED: Readonly<
  Record<string, readonly [from: string | RegExp, to: string, line: number, said: RegExp]>
> = {
  'eval()': [/m = .*/, 'm = eval(p.sub)', 11, /eval is not supported.*never evaluated/],
  'regexMatch()': [/m = .*/, 'm = regexMatch(r.obj, p.obj)', 11, /globMatch/],
  'keyMatch2()': [/m = .*/, 'm = keyMatch2(r.obj, p.obj)', 11, /pathMatch/],
  'a member of a text': [
    /m = .*/,
    'm = r.sub.constructor == p.sub',
    11,
    /r\.sub\.constructor is not known/,
  ],
  'a call on a member': [/m = .*/, 'm = r.sub.at(0) == p.sub', 11, /r\.sub\.at is not supported/],
  'an unknown name': [/m = .*/, 'm = r.subject == p.sub', 11, /known: r\.sub/],
  'eval in a text': [/m = .*/, 'm = r.sub == "eval(p.sub)"', 11, /eval may not be said/],
  'a backquote': [/m = .*/, 'm = `r.sub`', 11, /nothing begins with/],
  'a missing argument': [/m = .*/, 'm = g(r.sub)', 11, /g has 1 arguments, expected 2/],
  'an effect that allows by default': [
    'some(where (p.eft == allow))',
    '!some(where (p.eft == deny))',
    9,
    /allows everything while no line denies/,
  ],
  'a second matcher': [/m = .*/, 'm = true\nm2 = true', 12, /m2 has no meaning/],
  'a section of nobody': ['[matchers]', '[matcher]\n[matchers]', 10, /\[matcher\] is not known/],
  'a role of four': ['g = _, _', 'g = _, _, _, _', 7, /expected g = _, _/],
  'a field that is no attribute': ['r = sub, obj, act', 'r = sub, thing, act', 3, /spec\.request/],
  'no matcher': [/m = .*/, '', 1, /no \[matchers\]/],
}

for (const [what, [from, to, line, said]] of Object.entries(REFUSED)) {
  test(`readOperatorModel() refuses ${what}, with its line`, (t) => {
    const read = readOperatorModel(ROLES.replace(from, () => to))
    const [fault] = read.kind === 'faulty' ? read.faults : []
    t.is(fault?.line, line, JSON.stringify(fault))
    t.regex(`${fault?.message} ${fault?.hint ?? ''}`, said)
  })
}

test('lines with a column too few, too many, of no kind or with a quote left open are refused by number', (t) => {
  const cases: Record<string, RegExp> = {
    'p, a, b': /line 1: p has 2 columns, expected 3/,
    '# fine\n\np, a, b, c, d': /line 3: p has 4 columns/,
    'q, a, b, c': /line 1: it begins with "q", expected one of p, g/,
    'g, a': /line 1: g has 1 columns/,
    'p, "a, b, c': /line 1: a quoted column does not end/,
  }
  for (const [text, message] of Object.entries(cases)) {
    t.throws(() => readLines(ROLES, text), { message }, text)
  }
  t.notThrows(() => readLines(ROLES, 'p, "a,""b", /x, GET'))
})

test('a decision that takes too long is no decision', (t) => {
  let now = 0
  const many = Array.from({ length: 500 }, (_, index) => `p, a${index}, /a, GET`).join('\n')
  const ask = decider(ROLES, many, {
    timeMs: 5,
    nowMs: () => {
      now += 3
      return now
    },
  })
  t.throws(() => ask({ path: '/a' }), { message: /more than 5 ms, after \d+ lines/ })
})

test('ten thousand lines compile in time, and a repeated question is remembered', (t) => {
  const many = Array.from({ length: 9_998 }, (_, index) => `p, role${index}, /a${index}, GET`)
  const firstTook = cpuStopwatch()
  const ask = decider(
    ROLES,
    [...many, 'p, last, /z, GET', 'g, cluster.local/ns/shop/sa/web, last'].join('\n'),
  )
  t.true(ask({ path: '/z' }))
  const firstMs = firstTook()
  const againTook = cpuStopwatch()
  for (let times = 0; times < 1000; times += 1) ask({ path: '/z' })
  const againMs = againTook()
  t.log(`${firstMs.toFixed(0)} ms to compile and decide, ${againMs.toFixed(2)} µs repeated`)
  t.true(againMs < firstMs)
})

test('roles whose paths join again and again are followed once each', (t) => {
  const rungs = Array.from({ length: 9 }, (_, rung) =>
    Array.from({ length: 12 }, (_unused, from) =>
      Array.from({ length: 12 }, (_none, to) => `g, r${rung}-${from}, r${rung + 1}-${to}`),
    ),
  ).flat(2)
  const ask = decider(
    ROLES,
    ['p, top, /a, GET', 'g, cluster.local/ns/shop/sa/web, r0-0', ...rungs].join('\n'),
  )
  const cpuMs = cpuStopwatch()
  t.false(ask({ path: '/a' }))
  t.true(cpuMs() < 1000)
})
