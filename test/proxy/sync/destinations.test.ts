import test from 'ava'
import type { CompiledDestination } from '../../../proxy/sync/compiled.ts'
import { createDestinations } from '../../../proxy/sync/destinations.ts'
import { hellosToProto } from '../../../proxy/sync/wire.ts'

function open(max: number) {
  const said: string[] = []
  const destinations = createDestinations(
    {
      onSubscribe: (name) => said.push(`+${name.slice('destination/'.length)}`),
      onUnsubscribe: (name) => said.push(`-${name.slice('destination/'.length)}`),
    },
    max,
  )
  const value = (name: string): CompiledDestination => ({
    bundle: { format: 1, kind: 'unknown' },
    version: name,
    pickRoute: () => undefined,
    clusters: new Map([[name, { retire: () => said.push(`x${name}`) } as never]]),
  })
  return { said, destinations, value }
}

test('createDestinations() forgets what nobody has read for a while, and closes its ways', (t) => {
  const { said, destinations, value } = open(3)
  const [, b] = ['a', 'b', 'c'].map((name) => {
    const live = destinations.meet(name, 1)
    destinations.find(`destination/${name}:1`)?.put(value(name), name)
    return live
  })
  destinations.meet('d', 1)
  t.deepEqual(said, ['+a:1', '+b:1', '+c:1', 'xa', '-a:1', '+d:1'])
  t.is(b?.current?.version, 'b')
  destinations.meet('e', 1)
  t.deepEqual(said.slice(6), ['xc', '-c:1', '+e:1'])
})

test('createDestinations() subscribes again when a forgotten one is read again', (t) => {
  const { said, destinations, value } = open(1)
  const a = destinations.meet('a', 1)
  destinations.meet('b', 1)
  t.deepEqual(said, ['+a:1', '-a:1', '+b:1'])
  t.is(a.current, undefined)
  t.deepEqual(said.slice(3), ['-b:1', '+a:1'])
  destinations.find('destination/a:1')?.put(value('a'), 'a')
  t.is(a.current?.version, 'a')
})

test('createDestinations() never holds more than its bound, whatever is met', (t) => {
  const { destinations } = open(10)
  for (let at = 0; at < 1000; at += 1) destinations.meet(`h${at}`, 80)
  t.is(destinations.all().length, 10)
})

test('hellosToProto() says much in several messages, who we are in the first alone', (t) => {
  const resources = Array.from({ length: 2500 }, (_, at) => ({
    name: `destination/h${at}:80`,
    applied: at % 2 === 0 ? `v${at}` : '',
  }))
  const hellos = hellosToProto({ namespace: 'n', name: 'w' }, resources)
  t.deepEqual(
    hellos.map(({ node, subscribe, held }) => [
      node?.workload,
      subscribe.length,
      Object.keys(held).length,
    ]),
    [
      ['w', 1000, 500],
      [undefined, 1000, 500],
      [undefined, 500, 250],
    ],
  )
})
