/**
 * `test/fixtures/paths/normalized.jsonl`: a request target, then the path that Envoy 1.40 under
 * Istio's configuration decides on and forwards in the modes NONE, BASE, MERGE_SLASHES and
 * DECODE_AND_MERGE_SLASHES; `=` is the target itself, `400` a refusal before policy.
 */
import test from 'ava'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import {
  clientAddress,
  cookieOfCrumbs,
  headerValues,
  impliedHeader,
  isAmbiguousPath,
  isHiddenHeader,
  isKnownMethod,
  isPseudoHeader,
  normalizePath,
  type PathNormalization,
  pseudoHeader,
  withoutPathParameters,
} from '#policy/model/index.ts'

const MODES = ['NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'] as const
const rows = readFileSync('test/fixtures/paths/normalized.jsonl', 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as readonly string[])

const pathOf = (target: string, mode: PathNormalization): string => {
  const normalized = normalizePath(target, mode)
  return normalized.kind === 'ok' ? normalized.path : '400'
}

test('§1.12 normalizePath() has a table of at least 200 targets (users §2.3.33)', (t) => {
  t.true(rows.length >= 200, `${rows.length} rows`)
})

for (const [column, mode] of MODES.entries()) {
  test(`§1.12 rows 2, 3, 4, 5, §0.8.11, §0.8.12: normalizePath() in mode ${mode} gives what the table says`, (t) => {
    for (const [target = '', ...wanted] of rows) {
      const want = wanted[column] === '=' ? target : wanted[column]
      t.is(pathOf(target, mode), want ?? '', JSON.stringify(target))
    }
  })
}

test('§0.8.18 normalizePath() takes an absolute target by its host, and refuses odd ones', (t) => {
  const authorityOf = (target: string) => {
    const read = normalizePath(target, 'BASE')
    return read.kind === 'ok' ? read.authority : read.reason
  }
  for (const [target, host] of [
    ['https://h/a', 'h'],
    ['HTTP://[::1]:80/a', '[::1]:80'],
    ['http://h:080', 'h:080'],
  ] as const) {
    t.is(authorityOf(target), host)
  }
  // Envoy says 404 to the first, and leaves out who asks in the second.
  for (const target of [
    'http://h?q',
    'http://u@h/a',
    'http://h_/a',
    'http://h:99999/a',
    'http://h:/a',
  ]) {
    t.is(authorityOf(target), 'not-a-path', target)
  }
})

test('§0.8.14 normalizePath() never lets `..` take a dot segment with parameters along', (t) => {
  for (const [target, path] of [
    ['/x/..;/../admin', '/x/..;/../admin'],
    ['/x/.;a/../admin', '/x/.;a/../admin'],
    ['/x/%2e%2E;/../../a', '/x/..;/a'],
    ['/x/...;/../a', '/x/a'],
  ] as const) {
    t.is(pathOf(target, 'MERGE_SLASHES'), path)
    t.is(isAmbiguousPath(path), target !== '/x/...;/../a')
  }
})

test('§0.8.10 normalizePath() cuts the fragment in every mode and forwards the rest as it came (users §2.3.34)', (t) => {
  for (const mode of MODES) {
    const normalized = normalizePath('/%61//b/../c?q=%41#f?g', mode)
    t.true(normalized.kind === 'ok' && normalized.target === '/%61//b/../c?q=%41')
  }
})

test('§0.8.18 normalizePath() takes host and path from an absolute target', (t) => {
  t.deepEqual(normalizePath('http://web.app:80/a/../b?q', 'BASE'), {
    kind: 'ok',
    path: '/b',
    target: '/a/../b?q',
    authority: 'web.app:80',
  })
})

test('§0.8.13 normalizePath() says why it refuses', (t) => {
  const reasons = { '/a b': 'forbidden-character', '/%00': 'escaped-nul', '*': 'not-a-path' }
  for (const [target, reason] of Object.entries(reasons)) {
    t.deepEqual(normalizePath(target, 'BASE'), { kind: 'refused', reason } as never, target)
  }
})

test('§0.8.14 isAmbiguousPath() finds dot segments with parameters, encoded ones too', (t) => {
  for (const path of ['/..;', '/a/..;/b', '/a/.;x=1/b', '/a/%2e%2E;/b', '/a/.%2e;x']) {
    t.true(isAmbiguousPath(path), path)
    t.true(isAmbiguousPath(pathOf(path, 'BASE')), `${path} normalised`)
  }
  for (const path of ['/a;..', '/a;/..', '/...;', '/a..;/b', '/a;x/b', '/']) {
    t.false(isAmbiguousPath(path), path)
  }
})

test('withoutPathParameters() leaves out what stands behind a semicolon in each segment', (t) => {
  t.is(withoutPathParameters('/a;x=1/b;/c;y;z'), '/a/b/c')
})

test('normalizePath() is done in one pass: what it made it does not change', (t) => {
  const piece = fc.constantFrom(
    '/',
    '.',
    '..',
    '%2e',
    '%2F',
    '%5c',
    '\\',
    'a',
    '%',
    '2',
    'e',
    '%41',
    '"',
    ';',
    '%25',
  )
  const target = fc.array(piece, { maxLength: 12 }).map((pieces) => `/${pieces.join('')}`)
  fc.assert(
    fc.property(target, fc.constantFrom('BASE', 'MERGE_SLASHES'), (raw, mode) => {
      const once = pathOf(raw, mode)
      return once === '400' || pathOf(once, mode) === once
    }),
    { numRuns: 3000 },
  )
  t.is(pathOf('/%252e%252e/x', 'BASE'), '/%252e%252e/x')
})

test('normalizePath() leaves no dot segment in any mode that resolves them', (t) => {
  const piece = fc.constantFrom('/', '.', '%2e', '%2E', '%2f', '%5C', '\\', 'a', '//', '..')
  const property = (): void =>
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 14 }), (pieces) => {
        const path = pathOf(`/${pieces.join('')}`, 'DECODE_AND_MERGE_SLASHES')
        return !path.split('/').some((segment) => segment === '.' || segment === '..')
      }),
      { numRuns: 3000 },
    )
  t.notThrows(property)
})

test('§0.8.15 isKnownMethod() passes the fixed list in upper case and nothing else (users §2.3.36)', (t) => {
  for (const method of ['GET', 'PURGE', 'MKCOL', 'PROPFIND', 'BIND', 'QUERY', 'MSEARCH']) {
    t.true(isKnownMethod(method), method)
  }
  for (const method of ['get', 'Get', 'X', 'BREW', 'M-SEARCH', 'PRI', '', 'GET ']) {
    t.false(isKnownMethod(method), method)
  }
})

test('§0.8.17 headerValues() joins the lines of those that are one value, and no others', (t) => {
  t.deepEqual(headerValues('user-agent', ['a', 'b']), ['a,b'])
  t.deepEqual(headerValues('x-a', ['a', 'b']), ['a', 'b'])
  t.deepEqual(headerValues('via', []), [])
  // As Envoy appends: a line without a value leaves no comma.
  t.deepEqual(headerValues('user-agent', ['', 'a', '', 'b']), ['a,b'])
  t.deepEqual(headerValues('user-agent', ['', '']), [''])
  for (const name of ['if-match', 'content-encoding', 'x-forwarded-port', 'if-range']) {
    t.deepEqual(headerValues(name, ['a', 'b']), ['a,b'], name)
  }
})

test('§0.8.17 cookieOfCrumbs() joins as Envoy does: nothing stands before the first that says something', (t) => {
  for (const [crumbs, wanted] of [
    [['a', 'b'], ['a; b']],
    [['', 'a'], ['a']],
    [['', '', 'a'], ['a']],
    [['a', ''], ['a; ']],
    [['a', '', '', 'b'], ['a; ; ; b']],
    [['; ', 'a'], ['; ; a']],
    [[''], []],
    [['', ''], []],
  ] as const) {
    t.deepEqual(cookieOfCrumbs(crumbs), wanted, crumbs.join())
  }
})

test('§1.7 row 1: a referer that cannot be one is none, as Envoy has it', (t) => {
  for (const [lines, wanted] of [
    [['http://a.b/c?d:e'], 'http://a.b/c?d:e'],
    [['http://a/', 'b'], 'http://a/,b'],
    [['v'], 'v'],
    [['/a:b'], '/a:b'],
    [[''], ''],
    [['a', '', 'b'], 'a,b'],
  ] as const) {
    t.deepEqual(headerValues('referer', lines), [wanted], lines.join())
  }
  for (const lines of [
    [],
    ['v, w'],
    ['javascript:x'],
    ['http://a b/'],
    ['http://a', 'http://b'],
    ['http://u@a/'],
    ['http://a/#f'],
  ]) {
    t.deepEqual(headerValues('referer', lines), [], lines.join())
  }
})

test('§1.7 row 1: pseudo-headers say what the request line does', (t) => {
  const line = { method: 'GET', path: '/a', target: '/%61?b=c', host: 'h:1' }
  const read = [':method', ':path', ':authority', 'host', ':scheme'].map((name) =>
    pseudoHeader(name, line),
  )
  t.deepEqual(read, [['GET'], ['/a?b=c'], ['h:1'], ['h:1'], []])
  t.deepEqual(pseudoHeader('host', { ...line, host: undefined }), [])
  t.deepEqual(['host', ':path', 'x-host'].map(isPseudoHeader), [true, true, false])
})

test('§1.7 row 1: what the caller leaves out and Envoy says itself is there for policies', (t) => {
  t.deepEqual(impliedHeader('x-forwarded-proto', true), ['https'])
  t.deepEqual(impliedHeader('x-forwarded-proto', false), ['http'])
  t.is(impliedHeader('x-request-id', true).length, 1)
  t.deepEqual(impliedHeader('x-a', true), [])
})

test('§0.8.17 what ends at a proxy, or only a sidecar may say, policies do not see', (t) => {
  for (const name of [
    'connection',
    'te',
    'proxy-authorization',
    'x-envoy-internal',
    'x-redoubt-a',
  ]) {
    t.true(isHiddenHeader(name), name)
  }
  for (const name of ['x-a', 'authorization', 'expect', 'content-length', 'x-envoy']) {
    t.false(isHiddenHeader(name), name)
  }
})

test('§0.8.19 clientAddress() believes the last entry of the last line if it is an address', (t) => {
  t.is(clientAddress(['1.1.1.1', '2.2.2.2, 3.3.3.3'], '9.9.9.9'), '3.3.3.3')
  t.is(clientAddress(['1.1.1.1', ''], '9.9.9.9'), '1.1.1.1')
  for (const last of ['3.3.3.3:80', '3.3.3.3,', 'unknown', '', '::ffff:3.3.3.3:80']) {
    t.is(clientAddress([last], '9.9.9.9'), '9.9.9.9', last)
  }
  t.is(clientAddress([], '9.9.9.9'), '9.9.9.9')
})
