import test from 'ava'
import * as fc from 'fast-check'

import {
  assembleDestination,
  assembleInbound,
  PolicyError,
  parseDestinationBundle,
  parseInboundBundle,
} from '#policy/index.ts'
import { BUNDLE_FORMAT } from '#policy/model/index.ts'
import { INSTANCES, instance, intentOf } from '../sample.ts'

type Path = readonly (string | number)[]
type Parse = (body: Uint8Array) => unknown

const MORE = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: full, namespace: qotm, annotations: { istio.io/dry-run: "true" } }
spec:
  action: DENY
  rules:
    - from: [{ source: { namespaces: [a], notNamespaces: [b] } }]
      to: [{ operation: { hosts: [a], ports: ["80"] } }]
      when: [{ key: source.ip, values: [10.0.0.0/8], notValues: [10.1.0.0/16] }]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: full, namespace: qotm }
spec:
  jwtRules:
    - issuer: a
      audiences: [b]
      jwks: '{"keys":[]}'
      fromHeaders: [{ name: X-Tok, prefix: "Tok " }]
      fromParams: [p]
      fromCookies: [c]
      outputPayloadToHeader: X-Payload
      outputClaimToHeaders: [{ header: X-Sub, claim: sub }]
      spaceDelimitedClaims: [roles]
    - { issuer: d, jwksUri: https://keys.example/ }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: full, namespace: qotm }
spec:
  hosts: [quotes-db]
  http:
    - match: [{ name: m, uri: { prefix: /a }, headers: { x: { exact: y } }, withoutHeaders: { z: {} }, queryParams: { q: { regex: a+ } } }]
      route:
        - destination: { host: quotes-db }
          headers: { request: { set: { a: b }, add: { c: d }, remove: [e] }, response: { set: { f: g } } }
      rewrite: { uri: /b }
      headers: { request: { add: { h: i } } }
      retries: { attempts: 1, perTryTimeout: 1s }
      timeout: 2s
    - match: [{ uri: { exact: /r } }]
      redirect: { uri: /s }
    - match: [{ method: { exact: PUT } }]
      directResponse: { status: 405, body: { string: no } }
    - route: [{ destination: { host: quotes-db } }]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: full, namespace: qotm }
spec: { host: quotes-db, trafficPolicy: { outlierDetection: { consecutive5xxErrors: 1 } } }
`

const intent = intentOf(MORE)
const edge = instance('edge')
const BUNDLES: readonly (readonly [string, Parse, unknown])[] = [
  ['inbound', parseInboundBundle, assembleInbound(intent, edge)],
  [
    'destination',
    parseDestinationBundle,
    assembleDestination(intent, INSTANCES, edge, 'quotes-db', 80),
  ],
  [
    'unknown destination',
    parseDestinationBundle,
    assembleDestination(intent, INSTANCES, edge, 'nobody', 80),
  ],
]

const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value))

/** Keys of these objects are data. */
const MAPS = /\/(labels|clusters|headers|withoutHeaders|queryParams|set|add)$/

/** Every object whose keys are fixed, by path. `headers` of a route is one, `headers` of a match is not. */
function levels(value: unknown, path: Path = []): readonly Path[] {
  if (typeof value !== 'object' || value === null) return []
  const below = Object.entries(value).flatMap(([key, child]) => levels(child, [...path, key]))
  const pointer = pointerOf(path)
  const routeHeaders = pointer.endsWith('/headers') && !pointer.includes('/match/')
  const free = Array.isArray(value) || (MAPS.test(pointer) && !routeHeaders)
  return free ? below : [path, ...below]
}

function pointerOf(path: Path): string {
  return path.map((key) => `/${key}`).join('')
}

function edited(value: unknown, path: Path, edit: (at: Record<string, unknown>) => void): unknown {
  const copy = structuredClone(value)
  edit(
    path.reduce<unknown>(
      (at, key) => (at as Record<string | number, unknown>)[key],
      copy,
    ) as Record<string, unknown>,
  )
  return copy
}

function pointerThrown(parse: Parse, value: unknown): string | undefined {
  try {
    parse(encode(value))
    return 'nothing was thrown'
  } catch (error) {
    if (error instanceof PolicyError && error.code === 'POLICY_BUNDLE_INVALID') return error.pointer
    return String(error)
  }
}

for (const [name, parse, bundle] of BUNDLES) {
  test(`the ${name} bundle is read as it was assembled`, (t) => {
    t.deepEqual(parse(encode(bundle)), bundle)
  })

  test(`an unknown key at any of ${levels(bundle).length} levels of the ${name} bundle is refused there`, (t) => {
    for (const path of levels(bundle)) {
      for (const key of ['unknown', '__proto__', 'constructor', 'toString']) {
        const changed = edited(bundle, path, (at) =>
          Object.defineProperty(at, key, { value: 1, enumerable: true }),
        )
        t.is(pointerThrown(parse, changed), pointerOf([...path, key]))
      }
    }
  })

  test(`a value of another type anywhere in the ${name} bundle is refused`, (t) => {
    const places = levels(bundle).flatMap((path) => {
      const at = path.reduce<unknown>(
        (part, key) => (part as Record<string | number, unknown>)[key],
        bundle,
      )
      return Object.keys(at as object).map((key) => [...path, key])
    })
    t.notThrows(() =>
      fc.assert(
        fc.property(
          fc.constantFrom(...places),
          fc.constantFrom(null, -1, 1.5, { a: 1 }, [[]], true),
          (path, odd) => {
            const changed = edited(bundle, path.slice(0, -1), (at) => {
              const key = String(path.at(-1))
              fc.pre(typeof at[key] !== typeof odd || odd === null || odd === -1 || odd === 1.5)
              at[key] = odd
            })
            try {
              parse(encode(changed))
              return false
            } catch (error) {
              return error instanceof PolicyError
            }
          },
        ),
        { numRuns: 300 },
      ),
    )
  })
}

test('a field that is missing is refused at its place', (t) => {
  const [, parse, bundle] = BUNDLES[0]!
  for (const key of Object.keys(bundle as object).filter((field) => field !== 'format')) {
    const changed = edited(bundle, [], (at) => {
      delete at[key]
    })
    t.is(pointerThrown(parse, changed), `/${key}`)
  }
})

test('another format is refused before anything else is looked at (users §2.3.39)', (t) => {
  for (const format of [0, BUNDLE_FORMAT + 1, String(BUNDLE_FORMAT), null, undefined]) {
    const error = t.throws(() => parseInboundBundle(encode({ format, newField: 1 })), {
      instanceOf: PolicyError,
    })
    t.is(error?.code, 'POLICY_BUNDLE_FORMAT')
  }
})

test('what is not JSON in UTF-8 is refused', (t) => {
  for (const body of [encode('x').slice(1), new Uint8Array([0xff, 0xfe]), new Uint8Array()]) {
    t.throws(() => parseInboundBundle(body), {
      instanceOf: PolicyError,
      code: 'POLICY_BUNDLE_INVALID',
    })
  }
  t.throws(() => parseInboundBundle(encode([1])), {
    instanceOf: PolicyError,
    code: 'POLICY_BUNDLE_FORMAT',
  })
})

test('a body that is too large is refused unread', (t) => {
  const error = t.throws(() => parseInboundBundle(new Uint8Array(16 * 1024 * 1024 + 1)))
  t.is((error as PolicyError).code, 'POLICY_LIMIT')
})

test('mutual TLS towards nobody in particular is refused', (t) => {
  const bundle = assembleDestination(intent, INSTANCES, edge, 'quotes-db', 80)
  const path = ['clusters', 'outbound|80||quotes-db.qotm.svc.cluster.local', 'endpoints', 0]
  const changed = edited(bundle, path, (at) => {
    at['identities'] = []
  })
  t.is(pointerThrown(parseDestinationBundle, changed), `${pointerOf(path)}/identities`)
  const named = edited(bundle, path, (at) => {
    at['identities'] = ['spiffe://X/ns/a/sa/b']
  })
  t.is(pointerThrown(parseDestinationBundle, named), `${pointerOf(path)}/identities/0`)
})
