import test from 'ava'
import fc from 'fast-check'
import { CaError } from '#ca/index.ts'
import {
  MAX_SPIFFE_ID_BYTES,
  parseSpiffeId,
  parseTrustDomain,
  serviceAccountId,
  serviceAccountOf,
  trustDomainOf,
} from '#ca/spiffe/index.ts'

/** SPIFFE-ID §2, rule by rule. */
for (const text of [
  'spiffe://example.org',
  'spiffe://example.org/a/b-c_d.e',
  'spiffe://example.org/A/...',
  'spiffe://10.0.0.1/a',
  'spiffe://a_b-c.d/ns/x/sa/y',
  `spiffe://${'a'.repeat(255)}/b`,
]) {
  test(`parseSpiffeId() accepts ${text.slice(0, 60)}`, (t) => {
    t.is(String(parseSpiffeId(text)), text)
  })
}

const ALPHABET = 'its trust domain has a character outside [a-z0-9._-]'
const PATH = 'its path has a character outside [A-Za-z0-9._-]'
for (const [text, why] of [
  ['', 'its scheme is not spiffe'],
  ['spiffe:', 'its scheme is not spiffe'],
  ['https://example.org/a', 'its scheme is not spiffe'],
  ['SPIFFE://example.org/a', 'its scheme is not spiffe'],
  [' spiffe://example.org/a', 'its scheme is not spiffe'],
  ['spiffe://', 'its trust domain is empty'],
  ['spiffe:///a', 'its trust domain is empty'],
  ['spiffe://Example.org/a', ALPHABET],
  ['spiffe://ex%61mple.org/a', ALPHABET],
  ['spiffe://example.org:443/a', ALPHABET],
  ['spiffe://example.org:/a', ALPHABET],
  ['spiffe://u@example.org/a', ALPHABET],
  ['spiffe://@example.org/a', ALPHABET],
  ['spiffe://[::1]/a', ALPHABET],
  ['spiffe://example.org?x=1', ALPHABET],
  ['spiffe://exämple.org/a', ALPHABET],
  [`spiffe://${'a'.repeat(256)}/b`, 'its trust domain is longer than 255 bytes'],
  ['spiffe://example.org/', 'its path has an empty segment'],
  ['spiffe://example.org//a', 'its path has an empty segment'],
  ['spiffe://example.org/a//b', 'its path has an empty segment'],
  ['spiffe://example.org/a/', 'its path has an empty segment'],
  ['spiffe://example.org/a/./b', 'its path has a relative segment'],
  ['spiffe://example.org/a/../b', 'its path has a relative segment'],
  ['spiffe://example.org/..', 'its path has a relative segment'],
  ['spiffe://example.org/a%2Fb', PATH],
  ['spiffe://example.org/a?x=1', PATH],
  ['spiffe://example.org/a?', PATH],
  ['spiffe://example.org/a#f', PATH],
  ['spiffe://example.org/a b', PATH],
  ['spiffe://example.org/a\0b', PATH],
  ['spiffe://example.org/a\n', PATH],
  ['spiffe://example.org/ä', PATH],
  ['spiffe://example.org/a,URI:spiffe://example.org/b', PATH],
] as const) {
  test(`parseSpiffeId() refuses ${JSON.stringify(text.slice(0, 60))}`, (t) => {
    t.throws(() => parseSpiffeId(text), {
      instanceOf: CaError,
      code: 'CA_ID_INVALID',
      message: `Cannot parse SPIFFE ID ${JSON.stringify(text)}: ${why}`,
    })
  })
}

test('parseSpiffeId() takes 2048 bytes and refuses 2049 (identity-standards §5.1)', (t) => {
  const longest = `spiffe://example.org/${'a'.repeat(MAX_SPIFFE_ID_BYTES - 21)}`
  t.is(longest.length, 2048)
  t.is(String(parseSpiffeId(longest)), longest)
  t.throws(() => parseSpiffeId(`${longest}a`), {
    message: /^Cannot parse SPIFFE ID .{60,80}…": it is longer than 2048 bytes$/,
  })
})

test('parseSpiffeId() knows of every byte whether it may stand in a trust domain and in a path', (t) => {
  const accepts = (text: string) => {
    try {
      return parseSpiffeId(text) === text
    } catch {
      return false
    }
  }
  for (let byte = 0; byte < 256; byte += 1) {
    const character = String.fromCharCode(byte)
    const inDomain = /[a-z0-9._-]/.test(character)
    const inPath = /[A-Za-z0-9._-]/.test(character)
    t.is(accepts(`spiffe://a${character}b/c`), inDomain || character === '/', `domain ${byte}`)
    t.is(accepts(`spiffe://d/a${character}b`), inPath || character === '/', `path ${byte}`)
  }
})

test('parseTrustDomain() takes what parseSpiffeId() takes, without scheme or path', (t) => {
  const property = fc.property(fc.string({ unit: 'binary-ascii', maxLength: 12 }), (text) => {
    const parses = (parse: () => unknown) => {
      try {
        parse()
        return true
      } catch (error) {
        t.true(error instanceof CaError)
        return false
      }
    }
    const asName = parses(() => parseTrustDomain(text))
    return asName === (parses(() => parseSpiffeId(`spiffe://${text}`)) && !text.includes('/'))
  })
  t.notThrows(() => fc.assert(property, { numRuns: 2000 }))
})

test('serviceAccountOf() gives back what serviceAccountId() was given', (t) => {
  const segment = fc.stringMatching(/^[a-z0-9-]{1,20}$/)
  const trustDomain = parseTrustDomain('example.org')
  const property = fc.property(segment, segment, (namespace, serviceAccount) => {
    const id = serviceAccountId(trustDomain, { namespace, serviceAccount })
    t.deepEqual(serviceAccountOf(id), { namespace, serviceAccount })
    return trustDomainOf(id) === trustDomain
  })
  t.notThrows(() => fc.assert(property))
})

for (const path of ['', '/ns/a', '/ns/a/sa', '/ns/a/sa/b/c', '/sa/a/ns/b', '/NS/a/sa/b']) {
  test(`serviceAccountOf() finds no account in a path of "${path}"`, (t) => {
    t.is(serviceAccountOf(parseSpiffeId(`spiffe://example.org${path}`)), undefined)
  })
}

test('trustDomainOf() drops the path', (t) => {
  t.is(String(trustDomainOf(parseSpiffeId('spiffe://example.org/ns/a/sa/b'))), 'example.org')
  t.is(String(trustDomainOf(parseSpiffeId('spiffe://example.org'))), 'example.org')
})
