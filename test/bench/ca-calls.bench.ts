/**
 * What a certificate costs the CA's process over gRPC and mutual TLS, ledger and log on the disk: by the
 * batch API, and by Istio's, one certificate a call. Beside them, in the same call, the arithmetic that no
 * implementation can leave out: verifying a request and signing a certificate with OpenSSL, nothing else.
 *
 *     node test/bench/ca-calls.bench.ts [--seconds 4] [--rounds 3]
 */
import { createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { ChannelCredentials, Metadata } from '@grpc/grpc-js'
import { CertificateAuthorityClient, type Svid } from '#ca/proto/gen/ca.ts'
import { IstioCertificateServiceClient } from '#ca/proto/gen/istio/v1/auth/ca.ts'
import { buildCsr, pemFromDer } from '#ca/x509/index.ts'
import type { CaReady } from './ca-process.ts'
import { cpuOf } from './cpu.ts'
import { start } from './processes.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '3' },
  },
})
const durationMs = Number(values.seconds) * 1000

/** Certificates a call of the batch API; calls in flight. */
const BATCH = 50
const BATCHES_IN_FLIGHT = 4
const SINGLES_IN_FLIGHT = 64

const directory = mkdtempSync(join(tmpdir(), 'redoubt-bench-'))
const running = start(
  [process.execPath, fileURLToPath(new URL('ca-process.ts', import.meta.url))],
  join(directory, 'ca.log'),
)
try {
  const [ready] = (await once(running.child, 'message')) as [CaReady]
  const key = newKey()
  const own = await attest(ready, key)
  const batches = new CertificateAuthorityClient(...channel(ready, { svid: own, key }))
  const singles = new IstioCertificateServiceClient(...channel(ready, { svid: own, key }))
  const csrs = Array.from({ length: BATCH }, (_, at) => ({
    spiffeId: `spiffe://prod.example/ns/pay/sa/w${at}`,
    csr: Buffer.from(buildCsr(newKey())),
    ttlSeconds: 0,
  }))
  const pem = pemFromDer('CERTIFICATE REQUEST', buildCsr(newKey()))

  const issueBatch = () =>
    new Promise<number>((resolve, reject) =>
      batches.issue({ csrs }, (error, response) => {
        if (error) reject(error)
        else resolve(response.results.filter(({ outcome }) => outcome?.$case === 'svid').length)
      }),
    )
  const issueSingle = () =>
    new Promise<number>((resolve, reject) =>
      singles.createCertificate(
        { csr: pem, validityDuration: 0n, metadata: undefined },
        new Metadata(),
        (error, { certChain = [] } = { certChain: [] }) =>
          error ? reject(error) : resolve(certChain.length > 0 ? 1 : 0),
      ),
    )
  const ways = [
    { name: `batch API, ${BATCH} a call`, inFlight: BATCHES_IN_FLIGHT, call: issueBatch },
    { name: "Istio's API, one a call", inFlight: SINGLES_IN_FLIGHT, call: issueSingle },
  ]
  for (let round = 0; round < Number(values.rounds); round += 1) {
    const floorUs = floor()
    console.log(`floor: verify and sign ${floorUs.toFixed(1).padStart(37)} µs CPU`)
    for (const { name, inFlight, call } of ways) {
      await load(call, inFlight, 500)
      const before = cpuOf(running.pid)
      const { count, latenciesMs, seconds } = await load(call, inFlight, durationMs)
      const after = cpuOf(running.pid)
      const cpuMs = after.userMs + after.systemMs - before.userMs - before.systemMs
      const each = (cpuMs * 1000) / count
      const p99 = latenciesMs.toSorted((a, b) => a - b)[Math.floor(latenciesMs.length * 0.99)] ?? 0
      console.log(
        [
          name.padEnd(40),
          `${each.toFixed(1)} µs CPU`.padStart(14),
          `${Math.round(1e6 / each)} a second a core`.padStart(24),
          `${(each / floorUs).toFixed(2)} × floor`.padStart(14),
          `${Math.round(count / seconds)} a second seen`.padStart(20),
          `p99 of a call ${p99.toFixed(1)} ms`.padStart(26),
        ].join(' '),
      )
    }
  }
  batches.close()
  singles.close()
} finally {
  await running[Symbol.asyncDispose]()
  rmSync(directory, { recursive: true })
}

function newKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
}

type Channel = ConstructorParameters<typeof CertificateAuthorityClient>

function channel(
  { address, roots }: CaReady,
  identity?: { readonly svid: Svid; readonly key: KeyObject },
): Channel {
  const key = identity && Buffer.from(identity.key.export({ type: 'pkcs8', format: 'pem' }))
  const chain = identity && Buffer.from(pemFromDer('CERTIFICATE', identity.svid.chain))
  const credentials = ChannelCredentials.createSsl(Buffer.from(roots), key ?? null, chain ?? null, {
    checkServerIdentity: () => undefined,
  })
  return [address, credentials, { 'grpc.ssl_target_name_override': 'ca.invalid' }]
}

async function attest(ready: CaReady, key: KeyObject): Promise<Svid> {
  const client = new CertificateAuthorityClient(...channel(ready))
  const svid = await new Promise<Svid | undefined>((resolve, reject) =>
    client.attest(
      {
        joinToken: ready.joinToken,
        kubernetesToken: '',
        certificate: undefined,
        csr: Buffer.from(buildCsr(key)),
      },
      (error, response) => (error ? reject(error) : resolve(response.svid)),
    ),
  )
  client.close()
  if (!svid) throw new Error('the CA sent no SVID')
  return svid
}

interface Load {
  /** Certificates that came. */
  readonly count: number
  readonly seconds: number
  readonly latenciesMs: readonly number[]
}

/** Calls for `ms`, `inFlight` at a time. @throws {Error} if a call brings nothing */
async function load(call: () => Promise<number>, inFlight: number, ms: number): Promise<Load> {
  const startMs = performance.now()
  const latenciesMs: number[] = []
  let count = 0
  const one = async (): Promise<void> => {
    while (performance.now() < startMs + ms) {
      const callMs = performance.now()
      const issued = await call()
      if (issued === 0) throw new Error('a call brought no certificate')
      count += issued
      latenciesMs.push(performance.now() - callMs)
    }
  }
  await Promise.all(Array.from({ length: inFlight }, one))
  return { count, latenciesMs, seconds: (performance.now() - startMs) / 1000 }
}

/** CPU µs of reading a key, verifying with it and signing, P-256, in this process. */
function floor(): number {
  const key = newKey()
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' })
  const data = Buffer.alloc(300, 7)
  const signature = sign('sha256', data, key)
  const before = process.cpuUsage()
  const turns = 3000
  for (let turn = 0; turn < turns; turn += 1) {
    verify('sha256', data, createPublicKey({ key: spki, format: 'der', type: 'spki' }), signature)
    sign('sha256', data, key)
  }
  const { user, system } = process.cpuUsage(before)
  return (user + system) / turns
}
