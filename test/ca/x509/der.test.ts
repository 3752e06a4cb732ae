import test from 'ava'
import fc from 'fast-check'
import { CaError } from '#ca/index.ts'
import {
  cursor,
  derOf,
  MAX_DER_BYTES,
  oid,
  parseDer,
  readBoolean,
  readInteger,
  readOid,
  readSmallInteger,
  sequence,
  TAG,
  unsignedInteger,
} from '#ca/x509/der.ts'
import { derFromPem, pemFromDer } from '#ca/x509/index.ts'
import { readTime, timeDer } from '#ca/x509/time.ts'
import { nested } from './forge.ts'

const bytesOf = (hex: string) => new Uint8Array(Buffer.from(hex, 'hex'))

const malformed: Readonly<Record<string, string>> = {
  nothing: '',
  'a tag alone': '30',
  'an indefinite length': '30800000',
  'a length of length 3': '3083000001ff',
  'a length that is longer than it must be': '04810100',
  'a two-byte length below 256': '048200ff',
  'content that is cut off': '040501',
  'a length that is cut off': '3082ff',
  'bytes after the end': '0500ff',
  'a child longer than its parent': '3003040500',
  'a tag number above 30': '1f8101',
}
for (const [what, hex] of Object.entries(malformed)) {
  test(`parseDer() refuses ${what}`, (t) => {
    t.throws(() => parseDer(bytesOf(hex)), { instanceOf: CaError, code: 'CA_DER_INVALID' })
  })
}

test('parseDer() refuses 10,000 nested sequences without growing the stack (users §2.1.18)', (t) => {
  t.throws(() => parseDer(nested(10_000)), { code: 'CA_DER_INVALID' })
  const depth16 = nested(16)
  t.notThrows(() => parseDer(depth16))
  t.throws(() => parseDer(nested(17)), { code: 'CA_DER_INVALID' })
  const claimed = Buffer.alloc(20_000, Buffer.from('3080', 'hex')) // 10,000 that claim to go on
  t.throws(() => parseDer(claimed), { code: 'CA_DER_INVALID' })
})

test('parseDer() refuses more than MAX_DER_BYTES before it reads any', (t) => {
  t.throws(() => parseDer(new Uint8Array(MAX_DER_BYTES + 1)), {
    message: `Cannot read DER: it has ${MAX_DER_BYTES + 1} bytes, expected at most ${MAX_DER_BYTES}`,
  })
})

test('derOf() never writes over what it gave before, whatever the sizes', (t) => {
  const sizes = [0, 1, 63, 64, 500, 2030, 2040, 2047, 2048, 2049, 9000]
  const made = Array.from({ length: 400 }, (_, at) => {
    const content = new Uint8Array(sizes[at % sizes.length] ?? 0).fill(at)
    return { content, element: derOf(TAG.octetString, content) }
  })
  t.true(
    made.every(({ content, element }) => Buffer.compare(parseDer(element).body, content) === 0),
  )
})

test('parseDer() reads back what derOf() wrote, and its every proper prefix is refused', (t) => {
  const content = fc.uint8Array({ maxLength: 700 })
  const property = fc.property(fc.array(content, { maxLength: 4 }), (parts) => {
    const whole = sequence(...parts.map((part) => derOf(TAG.octetString, part)))
    const { children, raw } = parseDer(whole)
    t.deepEqual(raw, whole)
    return children.every(({ body }, at) => Buffer.compare(body, parts[at]!) === 0)
  })
  t.notThrows(() => fc.assert(property, { numRuns: 200 }))
  const whole = sequence(derOf(TAG.octetString, new Uint8Array(300)), oid('2.5.29.17'))
  for (let end = 0; end < whole.length; end += 1) {
    t.throws(() => parseDer(whole.subarray(0, end)), { code: 'CA_DER_INVALID' })
  }
})

test('parseDer() throws nothing but CaError, whatever the bytes', (t) => {
  const property = fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
    try {
      return parseDer(bytes).raw.length === bytes.length
    } catch (error) {
      return error instanceof CaError
    }
  })
  t.notThrows(() => fc.assert(property, { numRuns: 3000 }))
})

test('readOid() reads what oid() wrote', (t) => {
  for (const name of ['2.5.29.17', '1.2.840.113549.1.1.11', '1.3.101.112', '2.999.1', '0.9.2342']) {
    t.is(readOid(parseDer(oid(name))), name)
  }
})

const badOids: Readonly<Record<string, string>> = {
  'an empty one': '0600',
  'one that goes on': '060188',
  'an arc with a leading zero': '0603558001',
  'an arc above 2^32': '0607559fffffffff7f',
  'another tag': '04012a',
}
for (const [what, hex] of Object.entries(badOids)) {
  test(`readOid() refuses ${what}`, (t) => {
    t.throws(() => readOid(parseDer(bytesOf(hex))), { code: 'CA_DER_INVALID' })
  })
}

test('unsignedInteger() is minimal and never negative', (t) => {
  const hexOf = (...bytes: number[]) =>
    Buffer.from(unsignedInteger(Uint8Array.from(bytes))).toString('hex')
  t.is(hexOf(0x7f), '02017f')
  t.is(hexOf(0x80), '02020080')
  t.is(hexOf(0, 0, 1), '020101')
  t.is(hexOf(0), '020100')
  t.is(hexOf(), '020100')
})

test('readInteger() and readBoolean() refuse what DER does not have', (t) => {
  for (const hex of ['0200', '02020001', '0202ff80']) {
    t.throws(() => readInteger(parseDer(bytesOf(hex))), { code: 'CA_DER_INVALID' })
  }
  for (const hex of ['0100', '010101', '01020000']) {
    t.throws(() => readBoolean(parseDer(bytesOf(hex))), { code: 'CA_DER_INVALID' })
  }
  for (const hex of ['0201ff', '02050100000000']) {
    t.throws(() => readSmallInteger(parseDer(bytesOf(hex))), { code: 'CA_DER_INVALID' })
  }
})

test('cursor() says what is missing', (t) => {
  const fields = cursor(parseDer(sequence(oid('1.2.3'))), 'request')
  t.is(fields.takeIf(TAG.integer), undefined)
  t.throws(() => fields.take(TAG.integer, 'version'), {
    message: 'Cannot read DER: its request has no version where it belongs',
  })
  t.throws(() => fields.end('request'), { message: /more parts/ })
})

test('timeDer() writes UTCTime through 2049 and GeneralizedTime after, and readTime() reads both', (t) => {
  for (const [text, tag] of [
    ['1999-12-31T23:59:59Z', TAG.utcTime],
    ['2049-12-31T23:59:59Z', TAG.utcTime],
    ['2050-01-01T00:00:00Z', TAG.generalizedTime],
  ] as const) {
    const node = parseDer(timeDer(Temporal.Instant.from(text)))
    t.is(node.tag, tag)
    t.is(readTime(node).toString(), text)
  }
})

test('readTime() has the calendar of Temporal, from the year 0 to 9999, and refuses what it has not', (t) => {
  const pad = (value: number, length = 2) => String(value).padStart(length, '0')
  const parts = fc.tuple(fc.nat(9999), fc.nat(13), fc.nat(32), fc.nat(24), fc.nat(60), fc.nat(60))
  t.notThrows(() =>
    fc.assert(
      fc.property(parts, ([year, month, day, ...time]) => {
        const date = `${pad(year, 4)}-${pad(month)}-${pad(day)}`
        const clock = time.map((part) => pad(part))
        const text = `${date.replaceAll('-', '')}${clock.join('')}Z`
        const read = () => readTime(parseDer(derOf(TAG.generalizedTime, Buffer.from(text))))
        const isLeap = clock[2] === '60' // which ISO 8601 has, and certificates do not
        const wanted = isLeap ? undefined : instantOf(`${date}T${clock.join(':')}Z`)
        if (wanted) t.true(read().equals(wanted), text)
        else t.throws(read, { code: 'CA_DER_INVALID' }, text)
      }),
      {
        examples: [[[2000, 2, 29, 0, 0, 0]], [[1900, 2, 29, 0, 0, 0]], [[99, 12, 31, 23, 59, 59]]],
      },
    ),
  )
})

function instantOf(text: string): Temporal.Instant | undefined {
  try {
    return Temporal.Instant.from(text)
  } catch {
    return undefined
  }
}

for (const text of [
  '260230000000Z',
  '261301000000Z',
  '2601010000Z',
  '260101000000+0000',
  '260101000000',
]) {
  test(`readTime() refuses UTCTime ${text}`, (t) => {
    t.throws(() => readTime(parseDer(derOf(TAG.utcTime, Buffer.from(text)))), {
      code: 'CA_DER_INVALID',
    })
  })
}

test('derFromPem() reads back what pemFromDer() wrote, and only the label asked for', (t) => {
  const documents = [1, 47, 48, 49, 1000].map((length) => new Uint8Array(length).fill(length))
  const text = `noise\n${pemFromDer('CERTIFICATE', documents)}${pemFromDer('PRIVATE KEY', Uint8Array.of(9))}`
  t.deepEqual(derFromPem('CERTIFICATE', text), documents)
  t.deepEqual(derFromPem('PRIVATE KEY', text), [Uint8Array.of(9)])
  t.true(text.split('\n').every((line) => line.length <= 64))
})

test('derFromPem() takes comments, blank lines, spaces and line ends of others between and in documents (users §1.2.28)', (t) => {
  const documents = [new Uint8Array(100).fill(1), new Uint8Array(50).fill(2)]
  const [one = '', two = ''] = documents.map((der) => pemFromDer('CERTIFICATE', der))
  const text = `# the old root\r\n${one.replaceAll('\n', '\r\n')}\r\n\n  # and the new one\n\n${two.replaceAll('\n', '  \n')}\n\n\n`
  t.deepEqual(derFromPem('CERTIFICATE', text), documents)
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.string(), fc.nat(text.length), (noise, at) => {
        try {
          derFromPem('CERTIFICATE', text.slice(0, at) + noise + text.slice(at))
          return true
        } catch (cause) {
          return cause instanceof CaError && cause.code === 'CA_DER_INVALID'
        }
      }),
    ),
  )
})

const badPem: Readonly<Record<string, string>> = {
  'a text without one': 'hello',
  'one that does not end': '-----BEGIN CERTIFICATE-----\nAAAA\n',
  'one that is empty': '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----',
  'one that is not base64': '-----BEGIN CERTIFICATE-----\nA*AA\n-----END CERTIFICATE-----',
  'base64 that is cut off': '-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----',
}
for (const [what, text] of Object.entries(badPem)) {
  test(`derFromPem() refuses ${what}`, (t) => {
    t.throws(() => derFromPem('CERTIFICATE', text), { code: 'CA_DER_INVALID' })
  })
}
