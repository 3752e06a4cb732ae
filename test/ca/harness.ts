/** A CA for tests: a real one, in a directory of its own, with clients that OpenSSL keeps honest. */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ChannelCredentials, type ChannelOptions, type ServiceError } from '@grpc/grpc-js'
import type { Clock } from '#core/clock.ts'
import type { Ca, CaConfig, CaDeps } from '#ca/index.ts'
import { openCa } from '#ca/index.ts'
import {
  type AttestRequest,
  type AttestResponse,
  CertificateAuthorityClient,
  type IssueResponse,
  type Svid,
} from '#ca/proto/gen/ca.ts'
import {
  parseSpiffeId,
  parseTrustDomain,
  type SpiffeId,
  type TrustDomain,
} from '#ca/spiffe/index.ts'
import { buildCsr, pemFromDer } from '#ca/x509/index.ts'

export const trustDomain: TrustDomain = parseTrustDomain('prod.example')
export const agentId: SpiffeId = parseSpiffeId(
  'spiffe://prod.example/ns/redoubt-system/sa/redoubt-agent',
)
export const workloadId: SpiffeId = parseSpiffeId('spiffe://prod.example/ns/pay/sa/api')

/** The machine's clock. */
export const realClock: Clock = {
  nowMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      signal.throwIfAborted()
      const abort = (): void => {
        clearTimeout(timer)
        reject(signal.reason)
      }
      const timer = setTimeout(() => {
        signal.removeEventListener('abort', abort)
        resolve()
      }, ms)
      signal.addEventListener('abort', abort, { once: true })
    }),
}

/** A directory that is deleted at the end of the scope. */
export async function temporaryDir(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'redoubt-ca-'))
  return {
    path,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  }
}

export function configIn(stateDir: string, change: Partial<CaConfig> = {}): CaConfig {
  return {
    trustDomain,
    stateDir,
    listen: { host: '127.0.0.1', port: 0 },
    leafTtl: Temporal.Duration.from('PT1H'),
    maxLeafTtl: Temporal.Duration.from('PT24H'),
    caTtl: Temporal.Duration.from('P7D'),
    rootTtl: Temporal.Duration.from('P365D'),
    ...change,
  }
}

export interface LogEntry {
  readonly event: string
  readonly fields: Readonly<Record<string, unknown>>
}

export interface RunningCa extends AsyncDisposable {
  readonly ca: Ca
  readonly stateDir: string
  readonly log: LogEntry[]
}

/** A CA on a free port, its state gone at the end of the scope. */
export async function startCa(
  change: Partial<CaConfig> = {},
  deps: Partial<CaDeps> = {},
): Promise<RunningCa> {
  const dir = await temporaryDir()
  const log: LogEntry[] = []
  const ca = await openCa(configIn(dir.path, change), {
    now: () => Temporal.Now.instant(),
    clock: realClock,
    log: (_, event, fields = {}) => log.push({ event, fields }),
    ...deps,
  })
  return {
    ca,
    stateDir: dir.path,
    log,
    async [Symbol.asyncDispose]() {
      await ca[Symbol.asyncDispose]()
      await dir[Symbol.asyncDispose]()
    },
  }
}

export function newKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
}

export function newCsr(key: KeyObject = newKey()): Buffer {
  return Buffer.from(buildCsr(key))
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** Adds a token and returns its text. */
export async function newToken(
  ca: Ca,
  scope: readonly string[] = ['spiffe://prod.example/ns/pay/*'],
  expiresAt: Temporal.Instant = Temporal.Now.instant().add({ minutes: 5 }),
): Promise<string> {
  const token = randomBytes(32).toString('hex')
  await ca.addJoinToken({ tokenSha256: sha256(token), agentId, scope, expiresAt })
  return token
}

/** A client whose TLS stack is OpenSSL's own verification against the CA's root. */
export class Client implements Disposable {
  readonly raw: CertificateAuthorityClient

  constructor(
    ca: Ca,
    identity?: { readonly svid: Svid; readonly key: KeyObject },
    options: ChannelOptions = {},
    rejectUnauthorized = true,
  ) {
    const roots = Buffer.from(pemFromDer('CERTIFICATE', ca.bundle.current.roots))
    const key = identity && Buffer.from(identity.key.export({ type: 'pkcs8', format: 'pem' }))
    const chain = identity && Buffer.from(pemFromDer('CERTIFICATE', identity.svid.chain))
    const credentials = ChannelCredentials.createSsl(roots, key ?? null, chain ?? null, {
      checkServerIdentity: () => undefined,
      rejectUnauthorized, // false where time is not the machine's
    })
    this.raw = new CertificateAuthorityClient(ca.address, credentials, {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.ssl_target_name_override': 'ca.invalid', // an address may not be a server name
      ...options,
    })
  }

  attest(evidence: string | Partial<AttestRequest>, csr: Buffer): Promise<AttestResponse> {
    const shown = typeof evidence === 'string' ? { joinToken: evidence } : evidence
    const request = { joinToken: '', kubernetesToken: '', certificate: undefined, ...shown, csr }
    return new Promise((resolve, reject) => {
      this.raw.attest(request, (error, response) => (error ? reject(error) : resolve(response)))
    })
  }

  challenge(): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.raw.challenge({}, (error, response) =>
        error ? reject(error) : resolve(response.challenge),
      )
    })
  }

  issue(
    ...csrs: readonly { spiffeId: string; csr: Buffer; ttlSeconds?: number }[]
  ): Promise<IssueResponse> {
    return new Promise((resolve, reject) => {
      this.raw.issue({ csrs: csrs.map((csr) => ({ ttlSeconds: 0, ...csr })) }, (error, response) =>
        error ? reject(error) : resolve(response),
      )
    })
  }

  [Symbol.dispose](): void {
    this.raw.close()
  }
}

/** A client of an agent that has attested. */
export async function attestedClient(
  ca: Ca,
  scope?: readonly string[],
): Promise<{ client: Client; svid: Svid; key: KeyObject } & Disposable> {
  const key = newKey()
  using stranger = new Client(ca)
  const { svid } = await stranger.attest(await newToken(ca, scope), newCsr(key))
  if (!svid) throw new Error('the CA sent no SVID')
  const client = new Client(ca, { svid, key })
  return { client, svid, key, [Symbol.dispose]: () => client[Symbol.dispose]() }
}

/** The one SVID of a response, or the refusal's reason as an error. */
export function svidOf({ results }: IssueResponse): Svid {
  const outcome = results[0]?.outcome
  if (outcome?.$case === 'svid') return outcome.svid
  throw new Error(outcome ? outcome.refusal.reason : 'no result')
}

/** What a failed call says: the code of gRPC, ours, and the text. */
export async function failureOf(
  call: Promise<unknown>,
): Promise<{ code: number; reason: string; details: string }> {
  try {
    await call
  } catch (error) {
    const { code, metadata, details } = error as ServiceError
    return { code, reason: String(metadata.get('redoubt-reason')[0] ?? ''), details }
  }
  throw new Error('the call succeeded')
}
