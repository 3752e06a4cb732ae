import test from 'ava'
import { BlockList, isIP } from 'node:net'
import fc from 'fast-check'
import { isBlock, liesIn } from '#policy/evaluate/network.ts'
import { blockHas, readAddress, readBlock, readSocketAddress } from '#policy/model/index.ts'

const byte = fc.integer({ min: 0, max: 255 })
const v4 = fc.tuple(byte, byte, byte, byte).map((bytes) => bytes.join('.'))
const group = fc.integer({ min: 0, max: 0xffff }).map((value) => value.toString(16))
const v6 = fc
  .tuple(fc.array(group, { minLength: 8, maxLength: 8 }), fc.nat(7), fc.nat(3), fc.boolean(), v4)
  .map(([groups, at, gap, dotted, tail]) => {
    const head = dotted ? [...groups.slice(0, 6), tail] : groups
    if (gap < 2 || at + gap > 6) return head.join(':')
    return `${head.slice(0, at).join(':')}::${head.slice(at + gap).join(':')}`
  })
/** Text that is an address, or nearly. */
const nearly = fc
  .tuple(fc.oneof(v4, v6), fc.nat(40), fc.constantFrom('', ':', '.', '0', '00', 'g', ' ', '%', '/'))
  .map(([text, at, extra]) => text.slice(0, at) + extra + text.slice(at))

test('readAddress() takes what node:net takes for an address, and nothing else', (t) => {
  const property = (): void =>
    fc.assert(
      fc.property(fc.oneof(v4, v6, nearly), (text) => {
        fc.pre(!text.includes('%')) // a zone: node:net has its own rules for what may follow
        return (readAddress(text) !== undefined) === (isIP(text) !== 0)
      }),
      { numRuns: 5000 },
    )
  t.notThrows(property)
})

test('blockHas() and liesIn() find in a block what node:net finds', (t) => {
  const cases = fc.oneof(
    fc.tuple(v4, fc.integer({ min: 0, max: 32 }), v4, fc.constant('ipv4' as const)),
    fc.tuple(v6, fc.integer({ min: 0, max: 128 }), v6, fc.constant('ipv6' as const)),
  )
  // Addresses that share a beginning with the block, or hardly any would lie in it.
  const close = fc.tuple(cases, fc.boolean(), fc.nat(20))
  const property = (): void =>
    fc.assert(
      fc.property(close, ([[network, bits, other, family], near, cut]) => {
        const blended = near
          ? network.slice(0, -cut || undefined) + other.slice(-cut || undefined)
          : other
        const address = isIP(blended) === 0 ? network : blended
        const list = new BlockList()
        list.addSubnet(network, bits, family)
        const wanted = list.check(address, family)
        const block = readBlock(`${network}/${bits}`)
        const found = block !== undefined && blockHas(block, readAddress(address))
        const plain = liesIn(`${network}/${bits}`, address, { socket: false })
        // node:net also finds IPv4 in ::ffff:0:0/96; a policy does not (§0.8.19).
        const mapped = /^(0*:)*:?ffff:|^::/i.test(address) || /^(0*:)*:?ffff:|^::/i.test(network)
        return found === plain && (mapped || found === wanted)
      }),
      { numRuns: 5000 },
    )
  t.notThrows(property)
})

test('readBlock() and isBlock() refuse what is neither address nor block', (t) => {
  for (const text of [
    '',
    '/',
    '10.0.0.0/',
    '/8',
    '10.0.0.0/33',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    '10/8',
    '::/129',
    '1.2.3.4/8/8',
    '01.2.3.4',
    '1.2.3',
    '1.2.3.4.5',
    'fe80::1%eth0/64',
    ':::',
    '1::2::3',
    'x',
  ]) {
    t.is(readBlock(text), undefined, text)
    t.false(isBlock(text), text)
  }
  for (const text of [
    '10.0.0.0/8',
    '0.0.0.0/0',
    '1.2.3.4',
    '::',
    '::/0',
    '2001:db8::/32',
    '::ffff:1.2.3.4/104',
    'fe80::1%eth0',
  ]) {
    t.truthy(readBlock(text), text)
    t.true(isBlock(text), text)
  }
})

test('readSocketAddress() reads an IPv4 peer of a dual-stack listener, and a zone, as what they are', (t) => {
  t.deepEqual(readSocketAddress('::ffff:10.0.0.1'), [10, 0, 0, 1])
  t.deepEqual(readSocketAddress('::FFFF:a00:1'), [10, 0, 0, 1])
  t.is(readSocketAddress('fe80::1%eth0')?.length, 16)
  t.is(readAddress('::ffff:10.0.0.1')?.length, 16)
})
