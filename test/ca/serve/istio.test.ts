/** Istio's certificate service by the stubs that its contract generates, over real TLS. */
import { once } from 'node:events'
import { type KeyObject, X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { connect } from 'node:tls'
import { ChannelCredentials, type ChannelOptions, Metadata, status } from '@grpc/grpc-js'
import 'reflect-metadata'
import * as peculiar from '@peculiar/x509'
import test from 'ava'
import { type Ca, configFaults, type ReviewToken } from '#ca/index.ts'
import { describeCertificate } from '#ca/inspect/index.ts'
import {
  IstioCertificateServiceClient,
  type IstioCertificateRequest,
  type IstioCertificateResponse,
} from '#ca/proto/gen/istio/v1/auth/ca.ts'
import { peerChain, pemFromDer, readCertificate, verifySvid } from '#ca/x509/index.ts'
import {
  attestedClient,
  configIn,
  failureOf,
  newCsr,
  newKey,
  startCa,
  svidOf,
  workloadId,
} from '../harness.ts'

type Asked = Partial<IstioCertificateRequest>

/** A client of the service; a workload's if it has a certificate. */
class IstioClient implements Disposable {
  readonly raw: IstioCertificateServiceClient

  constructor(
    ca: Ca,
    identity?: { readonly chain: readonly Uint8Array[]; readonly key: KeyObject },
    strict?: { readonly credentials: ChannelCredentials; readonly options: ChannelOptions },
  ) {
    const roots = Buffer.from(pemFromDer('CERTIFICATE', ca.bundle.current.roots))
    const key = identity && Buffer.from(identity.key.export({ type: 'pkcs8', format: 'pem' }))
    const chain = identity && Buffer.from(pemFromDer('CERTIFICATE', identity.chain))
    const credentials = ChannelCredentials.createSsl(roots, key ?? null, chain ?? null, {
      checkServerIdentity: () => undefined,
    })
    this.raw = new IstioCertificateServiceClient(ca.address, strict?.credentials ?? credentials, {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.ssl_target_name_override': 'ca.invalid',
      ...strict?.options,
    })
  }

  create(asked: Asked = {}, metadata = new Metadata()): Promise<IstioCertificateResponse> {
    const request = {
      csr: pemFromDer('CERTIFICATE REQUEST', newCsr()),
      validityDuration: 0n,
      metadata: { CertSigner: '' },
      ...asked,
    }
    return new Promise((resolve, reject) => {
      this.raw.createCertificate(request, metadata, (cause, response) =>
        cause ? reject(cause) : resolve(response),
      )
    })
  }

  [Symbol.dispose](): void {
    this.raw.close()
  }
}

/** A client with the certificate of {@link workloadId}, which an agent got for it. */
async function workloadClient(ca: Ca) {
  using agent = await attestedClient(ca)
  const key = newKey()
  const svid = svidOf(await agent.client.issue({ spiffeId: workloadId, csr: newCsr(key) }))
  return new IstioClient(ca, { chain: svid.chain, key })
}

const PEM = /^-----BEGIN CERTIFICATE-----\n[^-]+-----END CERTIFICATE-----\n$/

test('CreateCertificate answers leaf, intermediate and all roots, each an element that ends with a newline', async (t) => {
  await using running = await startCa()
  const { ca } = running
  using client = await workloadClient(ca)
  const key = newKey()
  const csr = pemFromDer('CERTIFICATE REQUEST', newCsr(key))
  const { certChain } = await client.create({ csr })
  t.is(certChain.length, 3)
  for (const element of certChain) t.regex(element, PEM)
  const [leaf, issuing, roots] = certChain.map((pem) => new X509Certificate(pem))
  t.true(leaf?.checkIssued(issuing!))
  t.true(issuing?.checkIssued(roots!))
  t.is(certChain[2], pemFromDer('CERTIFICATE', ca.bundle.current.roots))
  t.true(leaf?.checkPrivateKey(key))
  const verdict = verifySvid(
    [leaf!.raw, issuing!.raw],
    [ca.bundle.current],
    Temporal.Now.instant(),
    'client',
  )
  t.is(verdict.kind === 'ok' && verdict.id, workloadId)
})

test('CreateCertificate takes the name from the certificate of the caller and none from the request (users §1.1.9)', async (t) => {
  await using running = await startCa()
  using client = await workloadClient(running.ca)
  const keys = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
    'sign',
    'verify',
  ])
  const csr = await peculiar.Pkcs10CertificateRequestGenerator.create({
    keys,
    name: 'CN=admin,O=system:masters',
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    extensions: [
      new peculiar.SubjectAlternativeNameExtension([
        { type: 'url', value: 'spiffe://prod.example/ns/pay/sa/admin' },
      ]),
    ],
  })
  const { certChain } = await client.create({ csr: `${csr.toString('pem')}\n` })
  const leaf = readCertificate(new X509Certificate(certChain[0] ?? '').raw)
  t.deepEqual(leaf.uriSans, [workloadId])
  t.true(leaf.sanIsCritical)
  t.falsy(new X509Certificate(certChain[0] ?? '').subject)
})

test('CreateCertificate grants the life asked for, the default for none, and refuses more than the maximum', async (t) => {
  await using running = await startCa() // default PT1H, maximum PT24H
  using client = await workloadClient(running.ca)
  const lifeOf = async (validityDuration: bigint) => {
    const { certChain } = await client.create({ validityDuration })
    const { notBefore, notAfter } = readCertificate(new X509Certificate(certChain[0] ?? '').raw)
    return (notAfter.epochMilliseconds - notBefore.epochMilliseconds) / 1000
  }
  t.is(await lifeOf(0n), 3600 + 120) // NotBefore is 2 minutes back
  t.is(await lifeOf(-1n), 3600 + 120)
  t.is(await lifeOf(86_400n), 86_400 + 120)
  for (const tooLong of [86_401n, 2n ** 62n]) {
    const failure = await failureOf(client.create({ validityDuration: tooLong }))
    t.is(failure.code, status.INVALID_ARGUMENT)
    t.regex(
      failure.details,
      /^CSR signing error \(requested TTL \d+s is greater than the max allowed TTL 86400s\)$/,
    )
  }
})

test('CreateCertificate refuses a caller without a certificate; a bearer token is no substitute', async (t) => {
  await using running = await startCa()
  using stranger = new IstioClient(running.ca)
  const none = await failureOf(stranger.create())
  t.deepEqual(none, {
    code: status.UNAUTHENTICATED,
    reason: 'CA_CALLER_UNKNOWN',
    details: 'request authenticate failure',
  })
  const bearer = new Metadata()
  bearer.set('authorization', 'Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln')
  bearer.set('clusterid', 'Kubernetes')
  const token = await failureOf(stranger.create({}, bearer))
  t.deepEqual(token, {
    code: status.UNAUTHENTICATED,
    reason: 'CA_CREDENTIAL_UNSUPPORTED',
    details: 'request authenticate failure',
  })
})

test('CreateCertificate issues for nobody else, whoever asks', async (t) => {
  await using running = await startCa()
  using client = await workloadClient(running.ca)
  const ImpersonatedIdentity = 'spiffe://prod.example/ns/pay/sa/other'
  t.deepEqual(await failureOf(client.create({ metadata: { ImpersonatedIdentity } })), {
    code: status.UNAUTHENTICATED,
    reason: 'CA_NOT_ADMITTED',
    details: 'request impersonation authentication failure',
  })
  const { certChain } = await client.create({ metadata: { ImpersonatedIdentity: '' } })
  t.is(certChain.length, 3)
})

test('CreateCertificate refuses what is no request, by InvalidArgument and before any arithmetic', async (t) => {
  await using running = await startCa()
  using client = await workloadClient(running.ca)
  const good = pemFromDer('CERTIFICATE REQUEST', newCsr())
  const broken = newCsr()
  const last = broken.length - 1
  broken[last] = (broken[last] ?? 0) ^ 1
  const cases: Readonly<Record<string, string>> = {
    'no text': '',
    'no PEM': 'hello',
    'another label': pemFromDer('CERTIFICATE', newCsr()),
    'two requests': good + good,
    'a signature that is not by its key': pemFromDer('CERTIFICATE REQUEST', broken),
    'more than 8 KiB': pemFromDer('CERTIFICATE REQUEST', Buffer.alloc(9000)),
    'a megabyte, almost': 'A'.repeat(1_000_000),
  }
  for (const [what, csr] of Object.entries(cases)) {
    const failure = await failureOf(client.create({ csr }))
    t.is(failure.code, status.INVALID_ARGUMENT, what)
    t.is(failure.reason, 'CA_CSR_REJECTED', what)
    t.regex(failure.details, /^CSR signing error \(.+\)$/, what)
  }
  const huge = await failureOf(client.create({ csr: 'A'.repeat(1_100_000) }))
  t.is(huge.code, status.RESOURCE_EXHAUSTED)
})

test('CreateCertificate puts every certificate in the ledger', async (t) => {
  await using running = await startCa()
  using client = await workloadClient(running.ca)
  const { certChain } = await client.create()
  const leaf = readCertificate(new X509Certificate(certChain[0] ?? '').raw)
  await running.ca[Symbol.asyncDispose]() // lets go of the ledger
  using ledger = new DatabaseSync(join(running.stateDir, 'ledger.db'), { readOnly: true })
  const row = ledger.prepare('SELECT * FROM certificates WHERE serial = ?').get(leaf.serial)
  t.is(row?.['requested_by'], workloadId)
  t.deepEqual(row?.['der'], new Uint8Array(leaf.der))
})

/** A cluster that knows one token. */
const reviewToken: ReviewToken = async (token, audiences) =>
  token === 'good.token.x' && audiences.includes('istio-ca')
    ? {
        kind: 'ok',
        username: 'system:serviceaccount:pay:api',
        groups: ['system:serviceaccounts'],
        audiences: ['istio-ca'],
      }
    : { kind: 'refused', reason: 'token expired' }

function bearer(token: string, clusterId?: string): Metadata {
  const metadata = new Metadata()
  metadata.set('authorization', `Bearer ${token}`)
  if (clusterId !== undefined) metadata.set('ClusterID', clusterId)
  return metadata
}

test('§15.3 a caller without a certificate is known by a token that the cluster vouches for', async (t) => {
  const attestation = { kubernetes: { audiences: ['istio-ca'], agents: [] } }
  await using running = await startCa({ attestation }, { reviewToken })
  using client = new IstioClient(running.ca)
  for (const clusterId of [undefined, '', 'Kubernetes']) {
    const { certChain } = await client.create({}, bearer('good.token.x', clusterId))
    t.is(new X509Certificate(certChain[0] ?? '').subjectAltName, `URI:${workloadId}`)
  }
  const refused = { code: status.UNAUTHENTICATED, details: 'request authenticate failure' }
  t.like(await failureOf(client.create({}, bearer('bad.token.x'))), refused)
  t.like(await failureOf(client.create({}, bearer('good.token.x', 'elsewhere'))), refused)
  const metadata = { ImpersonatedIdentity: 'spiffe://prod.example/ns/pay/sa/admin' }
  t.like(await failureOf(client.create({ metadata }, bearer('good.token.x'))), {
    code: status.UNAUTHENTICATED,
    details: 'request impersonation authentication failure',
  })
  t.false(JSON.stringify(running.log).includes('good.token.x'), 'no token in a log')
})

const ISTIOD = ['istiod.istio-system.svc', 'istiod-remote.istio-system.svc']

/** Shakes hands as a client does that knows nothing of SPIFFE: OpenSSL's chain, Node's server name. */
async function shakeHands(
  { address, bundle }: Ca,
  servername: string,
): Promise<string | undefined> {
  const [host, port] = address.split(':')
  const ca = pemFromDer('CERTIFICATE', bundle.current.roots)
  const socket = connect({ host, port: Number(port), servername, ca, ALPNProtocols: ['h2'] })
  try {
    await once(socket, 'secureConnect')
    return socket.getPeerX509Certificate()?.subjectAltName
  } finally {
    socket.destroy()
  }
}

test('§15.5: a client that verifies server names takes the CA by those that it was given, and by no other', async (t) => {
  await using running = await startCa({ serverNames: ISTIOD })
  const { ca } = running
  for (const name of ISTIOD) {
    t.is(
      await shakeHands(ca, name),
      `URI:${ca.serverId}, ${ISTIOD.map((one) => `DNS:${one}`).join(', ')}`,
    )
  }
  const code = 'ERR_TLS_CERT_ALTNAME_INVALID'
  await t.throwsAsync(shakeHands(ca, 'istiod.elsewhere.svc'), { code })
  await using plain = await startCa()
  await t.throwsAsync(shakeHands(plain.ca, 'istiod.istio-system.svc'), { code })

  using agent = await attestedClient(ca)
  const key = newKey()
  const svid = svidOf(await agent.client.issue({ spiffeId: workloadId, csr: newCsr(key) }))
  t.false(new X509Certificate(svid.chain[0] ?? '').subjectAltName?.includes('DNS'), 'nobody else')
  const pem = (der: readonly Uint8Array[]) => Buffer.from(pemFromDer('CERTIFICATE', der))
  const keyPem = Buffer.from(key.export({ type: 'pkcs8', format: 'pem' }))
  const credentials = ChannelCredentials.createSsl(
    pem(ca.bundle.current.roots),
    keyPem,
    pem(svid.chain),
  )
  using istio = new IstioClient(ca, undefined, {
    credentials,
    options: { 'grpc.ssl_target_name_override': 'istiod.istio-system.svc' },
  })
  t.is((await istio.create()).certChain.length, 3)
})

test('the certificate of a CA with server names is an SVID still, and our own linter has nothing to say of it', async (t) => {
  await using running = await startCa({ serverNames: ISTIOD })
  const { ca } = running
  const [host, port] = ca.address.split(':')
  const socket = connect({
    host,
    port: Number(port),
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
  })
  await once(socket, 'secureConnect')
  const chain = peerChain(socket)
  socket.destroy()
  const now = Temporal.Now.instant()
  const verdict = verifySvid(chain, [ca.bundle.current], now, 'server')
  t.is(verdict.kind === 'ok' && verdict.id, ca.serverId)
  t.deepEqual(describeCertificate(chain[0] ?? new Uint8Array(), now).findings, [])
})

for (const [what, names] of [
  ['an address', ['10.0.0.1']],
  ['upper case', ['Istiod.svc']],
  ['a wildcard', ['*.istio-system.svc']],
  ['an empty label', ['istiod..svc']],
  ['a label that is too long', [`${'a'.repeat(64)}.svc`]],
  ['more than 16', Array.from({ length: 17 }, (_, at) => `a${at}.svc`)],
] as const) {
  test(`a CA does not start with server names of which one is ${what}`, (t) => {
    const faults = configFaults(configIn('/state', { serverNames: names }))
    t.is(faults.length, 1)
    t.regex(faults[0] ?? '', /^serverNames has .*, expected (a DNS name in lower case|at most 16)$/)
  })
}
