/** Clients of the CA of `ca-process.ts`, and what it says of itself. */
import type { ChildProcess } from 'node:child_process'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import type { Profiler } from 'node:inspector'
import { ChannelCredentials, Metadata } from '@grpc/grpc-js'
import { CertificateAuthorityClient, type Svid } from '#ca/proto/gen/ca.ts'
import {
  IstioCertificateRequest,
  IstioCertificateServiceClient,
} from '#ca/proto/gen/istio/v1/auth/ca.ts'
import { buildCsr, pemFromDer } from '#ca/x509/index.ts'
import { openRawCalls } from '../fakes/raw-grpc-calls.ts'
import type { CaCpu, CaQuestion, CaReady } from './ca-process.ts'

/** Connections of the light client: a CA takes 100 calls at a time on each. */
const CALLERS = 16

/** The two ways to ask for certificates; each call says how many came. */
export interface CaCalls extends Disposable {
  /** Our API, `size` a call. */
  readonly batch: () => Promise<number>
  /** Istio's, one a call. */
  readonly single: () => Promise<number>
  /** The same call by a client that costs a tenth, over several connections in turn; with the bytes of its answer. */
  readonly lightSingle: () => Promise<number>
}

/** A client with a certificate of its own; `size` requests make a batch. */
export async function caCalls(ready: CaReady, size: number): Promise<CaCalls> {
  const key = newKey()
  const own = await attest(ready, key)
  const batches = new CertificateAuthorityClient(...channel(ready, { svid: own, key }))
  const singles = new IstioCertificateServiceClient(...channel(ready, { svid: own, key }))
  const csrs = Array.from({ length: size }, (_, at) => ({
    spiffeId: `spiffe://prod.example/ns/pay/sa/w${at}`,
    csr: Buffer.from(buildCsr(newKey())),
    ttlSeconds: 0,
  }))
  const request = {
    csr: pemFromDer('CERTIFICATE REQUEST', buildCsr(newKey())),
    validityDuration: 0n,
    metadata: undefined,
  }
  const [host = '', port = ''] = ready.address.split(':')
  const to = { host, port: Number(port), ca: ready.roots, ...pemOf({ svid: own, key }) }
  const light = Array.from({ length: CALLERS }, () =>
    openRawCalls(
      { ...to, checkServerIdentity: () => undefined },
      {
        path: '/istio.v1.auth.IstioCertificateService/CreateCertificate',
        message: IstioCertificateRequest.encode(request).finish(),
      },
    ),
  )
  let turn = 0
  return {
    batch: () =>
      new Promise<number>((resolve, reject) =>
        batches.issue({ csrs }, (error, response) => {
          if (error) reject(error)
          else resolve(response.results.filter(({ outcome }) => outcome?.$case === 'svid').length)
        }),
      ),
    single: () =>
      new Promise<number>((resolve, reject) =>
        singles.createCertificate(request, new Metadata(), (error, response) =>
          error ? reject(error) : resolve(response.certChain.length > 0 ? 1 : 0),
        ),
      ),
    lightSingle() {
      turn += 1
      return light[turn % CALLERS]?.call() ?? Promise.reject(new Error('no connection'))
    },
    [Symbol.dispose]() {
      for (const caller of light) caller[Symbol.dispose]()
      batches.close()
      singles.close()
    },
  }
}

function newKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
}

type Channel = ConstructorParameters<typeof CertificateAuthorityClient>

interface Identity {
  readonly svid: Svid
  readonly key: KeyObject
}

function pemOf({ svid, key }: Identity): { readonly key: Buffer; readonly cert: Buffer } {
  return {
    key: Buffer.from(key.export({ type: 'pkcs8', format: 'pem' })),
    cert: Buffer.from(pemFromDer('CERTIFICATE', svid.chain)),
  }
}

function channel({ address, roots }: CaReady, identity?: Identity): Channel {
  const { key = null, cert = null } = identity ? pemOf(identity) : {}
  const credentials = ChannelCredentials.createSsl(Buffer.from(roots), key, cert, {
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

/** The CA's answers about itself; one question at a time. */
export interface CaAnswers {
  readonly floor: (ms: number) => Promise<number>
  readonly cpu: () => Promise<CaCpu>
  readonly profile: () => Promise<void>
  readonly profiled: () => Promise<Profiler.Profile>
}

/** Asks the process `child`. */
export function askCa(child: ChildProcess): CaAnswers {
  const ask = async (question: CaQuestion): Promise<unknown> => {
    const answered = once(child, 'message')
    child.send(question)
    return (await answered)[0]
  }
  return {
    floor: async (ms) => (await ask({ ask: 'floor', ms })) as number,
    cpu: async () => (await ask({ ask: 'cpu' })) as CaCpu,
    profile: async () => void (await ask({ ask: 'profile' })),
    profiled: async () => (await ask({ ask: 'profiled' })) as Profiler.Profile,
  }
}
