/** §16.3: routes that nothing reaches, IST0130 and IST0131. */
import test from 'ava'

import { readManifests } from '#policy/index.ts'

function warningsOf(http: string): readonly string[] {
  const text = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: a }
spec:
  hosts: [a]
  http:
${http}`
  const [report] = readManifests([{ path: 'x', text }]).documents
  if (!report?.valid) throw new Error(JSON.stringify(report?.errors))
  return report.warnings.map(({ pointer, message }) => `${pointer} ${message.slice(0, 7)}`)
}

const route = 'route: [{ destination: { host: a } }]'

test('§16.3 IST0130: a route behind one that takes everything', (t) => {
  const all = `    - { ${route} }\n`
  const some = `    - { match: [{ uri: { exact: /a } }], ${route} }\n`
  t.deepEqual(warningsOf(some + all), [])
  t.deepEqual(warningsOf(all + all), ['/spec/http/1 IST0130'])
  t.deepEqual(warningsOf(all + some), ['/spec/http/1/match/0 IST0130'])
})

test('§16.3 IST0131: the same match twice, whatever it is called', (t) => {
  const one = `    - { match: [{ name: x, uri: { prefix: /a }, port: 0 }], ${route} }\n`
  const other = `    - { match: [{ uri: { prefix: /a } }, { uri: { exact: /b } }], ${route} }\n`
  t.deepEqual(warningsOf(one + other), ['/spec/http/1/match/0 IST0131'])
  t.deepEqual(warningsOf(one + one.replace('x', 'y')), [
    '/spec/http/1/match/0 IST0131',
    '/spec/http/1 IST0130',
  ])
})

test('§16.3 IST0131: a path prefix inside an earlier one, when all else is as wide', (t) => {
  const wide = `    - { match: [{ uri: { prefix: /a } }], ${route} }\n`
  const narrow = `    - { match: [{ uri: { prefix: /a/b } }], ${route} }\n`
  t.deepEqual(warningsOf(wide + narrow), ['/spec/http/1/match/0 IST0131'])
  t.deepEqual(warningsOf(narrow + wide), [])
  const posts = wide.replace('/a }', '/a }, method: { exact: POST }')
  t.deepEqual(warningsOf(posts + narrow), [])
  const marked = narrow.replace('/b }', '/b }, headers: { x: { exact: "1" } }')
  t.deepEqual(warningsOf(wide + marked), [])
})
