import test from 'ava'
import fc from 'fast-check'

import { RequestHead } from '../../../proxy/http/request-head.ts'
import { textOf } from '../../../proxy/http/text.ts'
import { noteRequest } from '../../../proxy/stack/note-request.ts'
import { createMetrics } from '../../../proxy/telemetry/metrics.ts'
import { RequestRecord } from '../../../proxy/telemetry/record.ts'

const wireOf = (text: string): string => Buffer.from(text, 'utf8').toString('latin1')

test('textOf() reads UTF-8 as what it says, and leaves ASCII alone', (t) => {
  for (const text of ['', 'plain', 'café', '€ 5', '😀', '\u{10ffff}', '中文/路径']) {
    t.is(textOf(wireOf(text)), text)
  }
})

test('textOf() takes bytes that are no UTF-8 for no character of a manifest', (t) => {
  for (const bytes of ['\xe9', '\xc3', '\xc0\x80', '\xed\xa0\x80', '\xf4\x90\x80\x80', '\xff']) {
    const text = textOf(`a${bytes}b`)
    t.regex(text, /^a[\udc80-\udcff]+b$/u, JSON.stringify(bytes))
    t.is(text.length, bytes.length + 2)
  }
})

test('users §2.3.41: values compare as their bytes do: whole, from the front and from the back', (t) => {
  const pieces = fc.constantFrom('é', '€', '😀', 'a', '\xc3', '\xa9', '\xe2', '\x82', '\xff')
  const bytes = fc
    .array(pieces, { maxLength: 6 })
    .map((list) => list.map((one) => (one.length > 1 || one > '\xff' ? wireOf(one) : one)).join(''))
  const written = fc
    .array(fc.constantFrom('é', '€', '😀', 'a', '©', 'Ã'), { maxLength: 3 })
    .map((list) => list.join(''))
  const property = (): void =>
    fc.assert(
      fc.property(bytes, bytes, written, (value, other, pattern) => {
        const text = textOf(value)
        const wire = wireOf(pattern)
        return (
          (text === textOf(other)) === (value === other) &&
          (text === pattern) === (value === wire) &&
          text.startsWith(pattern) === value.startsWith(wire) &&
          text.endsWith(pattern) === value.endsWith(wire)
        )
      }),
      { numRuns: 3000 },
    )
  t.notThrows(property)
})

test('noteRequest() notes for the log what a client says in UTF-8, and every other byte apart', (t) => {
  const head = new RequestHead()
  const bytes = Buffer.from(
    `GET / HTTP/1.1\r\nhost: a\r\nuser-agent: ${wireOf('café')}\xff\r\n\r\n`,
    'latin1',
  )
  t.is(head.read(bytes, 0, bytes.length), bytes.length)
  const labels = { reporter: 'destination', protocol: 'http', security: 'none' } as const
  const record = new RequestRecord(createMetrics().edge(labels), 0)
  noteRequest(record, head, true)
  t.is(JSON.stringify(record.userAgent), '"café\\udcff"')
})
