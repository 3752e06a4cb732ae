/** What is asked over HTTP: whether an app is ready, and what a control-plane process says of itself. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import test from 'ava'

import { listenHealth } from '#deploy/standalone/health-listener.ts'
import { meshEventOf } from '#deploy/standalone/policy-event.ts'
import { isReady, untilReady } from '#deploy/standalone/probe.ts'
import { systemClock } from '#deploy/run/system-clock.ts'
import { ask } from '#test/process/mesh.ts'

async function app(statuses: Iterable<number>): Promise<{ address: string } & AsyncDisposable> {
  const next = statuses[Symbol.iterator]()
  const server = createServer((_, response) => {
    response.writeHead(next.next().value ?? 200).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
    },
  }
}

const HTTP = { kind: 'http', path: '/healthz', port: 8080 } as const

test('isReady() takes 2xx and 3xx for ready, as the kubelet does', async (t) => {
  for (const [status, expected] of [
    [200, true],
    [204, true],
    [302, true],
    [404, false],
    [503, false],
  ] as const) {
    await using one = await app([status])
    t.is(await isReady(HTTP, one.address), expected, String(status))
  }
})

test('isReady() is false where nobody listens, and true for TCP where somebody does', async (t) => {
  t.false(await isReady(HTTP, '127.0.0.1:1'))
  t.false(await isReady({ kind: 'tcp', port: 1 }, '127.0.0.1:1'))
  await using one = await app([])
  t.true(await isReady({ kind: 'tcp', port: 8080 }, one.address))
})

test('untilReady() asks the port of the probe until it is ready', async (t) => {
  await using one = await app([503, 503, 200])
  const addresses = { 80: '127.0.0.1:1', 8080: one.address }
  await untilReady(HTTP, addresses, systemClock, new AbortController().signal)
  t.true(await isReady(HTTP, one.address))
})

test('untilReady() gives up when it is told to', async (t) => {
  const signal = AbortSignal.timeout(100)
  const waiting = untilReady(undefined, { 80: '127.0.0.1:1' }, systemClock, signal)
  await t.throwsAsync(waiting, { name: 'TimeoutError' })
})

test('listenHealth() answers /metrics, /healthz and /ready, and nothing else', async (t) => {
  let ready = false
  await using listener = await listenHealth(
    { host: '127.0.0.1', port: 0 },
    {
      health: () => ({ ready, reasons: ['no roots yet'] }),
      metrics: async () => '# TYPE redoubt_up gauge\nredoubt_up 1\n',
    },
  )
  const get = (path: string) => ask(listener.address, { path })
  t.deepEqual(await get('/ready'), { status: 503, body: 'no roots yet\n' })
  ready = true
  t.deepEqual(await get('/ready?verbose'), { status: 200, body: 'ready\n' })
  t.regex((await get('/metrics')).body, /redoubt_up 1/)
  t.is((await get('/healthz')).status, 200)
  t.is((await get('/config')).status, 404)
  t.is((await ask(listener.address, { method: 'POST', path: '/metrics' })).status, 405)
  await t.throwsAsync(
    listenHealth(
      { host: '127.0.0.1', port: Number(listener.address.split(':')[1]) },
      {
        health: () => ({ ready, reasons: [] }),
        metrics: async () => '',
      },
    ),
    { message: /^Cannot listen on 127\.0\.0\.1:\d+ for metrics: EADDRINUSE$/ },
  )
})

test('meshEventOf() tells what was applied or rejected, and no comings and goings', (t) => {
  const event = { workload: 'n/w', name: 'inbound/n/w', version: 'v7' }
  t.deepEqual(meshEventOf({ kind: 'rejected', ...event, reason: 'format 9' }), {
    event: 'rejected',
    workload: 'n/w',
    detail: 'inbound/n/w v7: format 9',
    facts: { resource: 'inbound/n/w', version: 'v7' },
  })
  t.is(meshEventOf({ kind: 'applied', ...event })?.detail, 'inbound/n/w v7')
  t.is(meshEventOf({ kind: 'connected', workload: 'n/w' }), undefined)
})
