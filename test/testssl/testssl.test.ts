/** What testssl.sh says of every TLS listener of a mesh: protocols, ciphers, groups, vulnerabilities. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect as connectTcp, createServer as createTcpServer } from 'node:net'
import { join } from 'node:path'
import { createServer, connect } from 'node:tls'

import test, { type ExecutionContext } from 'ava'

import type { ReadyLine } from '#deploy/standalone/ready-line.ts'
import { makeCertificate } from '../ca/inspect/certificates.ts'
import { startMesh, temporary } from '../process/mesh.ts'

const program = process.env['REDOUBT_TESTSSL']

/** A test that needs testssl.sh. */
function testWith(
  title: string,
  run: (t: ExecutionContext, testssl: string) => Promise<void>,
): void {
  if (program) test.serial(title, (t) => run(t, program))
  else
    test.skip(`${title} (SKIPPED: there is no testssl.sh; use npm run test:testssl)`, (t) =>
      t.fail())
}

interface Finding {
  readonly id: string
  readonly severity: string
  readonly finding: string
}

/** Times that a scan is begun: on a busy machine testssl.sh may give up before it has connected. */
const ATTEMPTS = 3

/**
 * What testssl.sh finds at `address` in the sections of `flags`. It ends with the number of its
 * findings; what it has to say is in the file.
 */
async function scan(
  testssl: string,
  address: string,
  folder: string,
  flags: readonly string[],
): Promise<readonly Finding[]> {
  const quiet = ['--quiet', '--warnings', 'off', '--color', '0']
  const patient = ['--connect-timeout', '60', '--openssl-timeout', '60']
  for (let attempt = 1; ; attempt += 1) {
    const file = join(folder, `${address.replace(/\W/g, '-')}.${attempt}.json`)
    const args = [...quiet, ...patient, '--jsonfile', file, ...flags, address]
    await new Promise((resolve) => execFile(testssl, args, { timeout: 600_000 }, resolve))
    const findings = JSON.parse(await readFile(file, 'utf8')) as readonly Finding[]
    const isWhole = findings.every((one) => one.severity !== 'FATAL' && !isUndone(one))
    if (isWhole || attempt === ATTEMPTS) return findings
  }
}

/** On the way back: longer than a busy machine lets a program wait for its turn. */
const RELAY_DELAY_MS = 60

interface Relay extends AsyncDisposable {
  readonly address: string
}

/**
 * A way to `address` on which answers take a moment. In TLS 1.3 a client that shows no certificate has its handshake
 * done before it is refused; testssl.sh takes a refusal that arrives before it has looked for no TLS at all.
 */
async function openRelay(address: string): Promise<Relay> {
  const [host, port] = address.split(':')
  const relay = createTcpServer({ allowHalfOpen: true }, (client) => {
    const server = connectTcp({ host, port: Number(port), allowHalfOpen: true })
    const later = (act: () => void): void => void setTimeout(act, RELAY_DELAY_MS)
    client.on('data', (bytes) => server.write(bytes)).on('end', () => server.end())
    server.on('data', (bytes) => later(() => client.write(bytes)))
    server.on('end', () => later(() => client.end()))
    client.on('error', () => server.destroy())
    server.on('error', () => later(() => client.destroy()))
    client.on('close', () => server.destroy())
  })
  relay.listen(0, '127.0.0.1')
  await once(relay, 'listening')
  return {
    address: `127.0.0.1:${(relay.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => relay.close(resolve))
    },
  }
}

/** What the program could not do; that its OpenSSL lacks GOST, which nobody here speaks, does not count. */
function isUndone({ id, severity }: Finding): boolean {
  return severity === 'WARN' && id !== 'engine_problem'
}

const ABOVE_LOW: ReadonlySet<string> = new Set(['MEDIUM', 'HIGH', 'CRITICAL', 'FATAL'])

function badOf(findings: readonly Finding[]): readonly string[] {
  return findings
    .filter((one) => ABOVE_LOW.has(one.severity) || isUndone(one))
    .map(({ id, severity, finding }) => `${severity} ${id}: ${finding}`)
}

/** Where PERMISSIVE, a port takes TLS without the mesh's ALPN for the app's own, and testssl.sh has no other. */
const MESH = `
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { namespace: default, name: web }
spec:
  serviceAccount: web
  ports: [{ name: http, port: 8080 }]
  run: { command: [node, -e, "require('node:net').createServer().listen(process.env.PORT, '127.0.0.1')"] }
---
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { namespace: default, name: db }
spec:
  serviceAccount: db
  ports: [{ name: tcp, port: 5432 }]
  run: { command: [node, -e, "require('node:net').createServer().listen(process.env.PORT, '127.0.0.1')"] }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { namespace: default, name: default }
spec: { mtls: { mode: STRICT } }
`

/** Every address that the ready line tells, by where in it. */
function addressesIn(value: unknown, at = ''): readonly (readonly [string, string])[] {
  if (typeof value === 'string') return /^127\.\d+\.\d+\.\d+:\d+$/.test(value) ? [[at, value]] : []
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, inner]) =>
    addressesIn(inner, at === '' ? name : `${at}.${name}`),
  )
}

/** Whether a handshake with `address` is answered in TLS. */
async function speaksTls(address: string): Promise<boolean> {
  const [host = '', port] = address.split(':')
  const socket = connect({ host, port: Number(port), rejectUnauthorized: false })
  const answered = once(socket, 'secureConnect').then(
    () => true,
    () => false,
  )
  const late = setTimeout(() => socket.destroy(new Error('no answer')), 3000)
  try {
    return await answered
  } finally {
    clearTimeout(late)
    socket.on('error', () => {})
    socket.destroy()
  }
}

async function tlsListenersOf(ready: ReadyLine): Promise<readonly (readonly [string, string])[]> {
  const all = addressesIn(ready).filter(([at]) => !at.includes('.app.'))
  const answers = await Promise.all(all.map(([, address]) => speaksTls(address)))
  return all.filter((_, index) => answers[index])
}

testWith(
  'testssl.sh has nothing above LOW to say of any TLS listener of a mesh',
  async (t, testssl) => {
    await using dir = await temporary()
    await writeFile(join(dir.path, 'mesh.yaml'), MESH)
    const state = join(dir.path, 'state')
    await using mesh = await startMesh(['-f', join(dir.path, 'mesh.yaml'), '--state', state])
    const listeners = await tlsListenersOf(mesh.ready)
    const places = listeners.map(([at]) => at)
    t.true(places.includes('ca.address') && places.includes('policy.address'), places.join(' '))
    t.is(places.filter((at) => at.includes('.inbound.')).length, 2, places.join(' '))

    const waiting = [...listeners]
    const worker = async (): Promise<void> => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        const [at, address] = next
        await using relay = await openRelay(address)
        const sections = ['-p', '-s', '-f', '-P', '-U']
        const findings = await scan(testssl, relay.address, dir.path, sections)
        t.deepEqual(badOf(findings), [], at)
        const found = (id: string) => findings.find((one) => one.id === id)
        t.regex(found('TLS1_3')?.finding ?? '', /^offered/, `${at}: it has been seen`)
        for (const id of ['SSLv3', 'TLS1', 'TLS1_1', 'TLS1_2']) {
          t.regex(found(id)?.finding ?? '', /^not offered/, `${at}: ${id}`)
        }
        for (const id of ['heartbleed', 'ROBOT', 'LOGJAM', 'RC4', 'cipherlist_NULL']) {
          t.truthy(found(id), `${at}: ${id} was tried`)
        }
        t.log(`${at} ${address}: ${findings.length} findings, none above LOW`)
      }
    }
    await Promise.all([worker(), worker()])
  },
)

testWith(
  'testssl.sh is believed: of a server with nothing but CBC it says so',
  async (t, testssl) => {
    await using dir = await temporary()
    const { pem: cert, keyPem: key } = await makeCertificate({ dns: ['localhost'] })
    const ciphers = 'ECDHE-ECDSA-AES128-SHA@SECLEVEL=0'
    const server = createServer({ cert, key, ciphers, maxVersion: 'TLSv1.2' })
    server.on('tlsClientError', () => {})
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
    const findings = await scan(testssl, address, dir.path, ['-s'])
    server.close()
    t.deepEqual(badOf(findings), ['MEDIUM cipherlist_STRONG: not offered'])
  },
)
