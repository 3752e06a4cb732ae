/** Tokens of service accounts, judged by a real API server, at the CA's own door and at Istio's. */
import { execFile } from 'node:child_process'
import { createPrivateKey, sign, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { ChannelCredentials, Metadata } from '@grpc/grpc-js'
import anyTest, { type TestFn } from 'ava'
import type { Ca } from '#ca/index.ts'
import { IstioCertificateServiceClient } from '#ca/proto/gen/istio/v1/auth/ca.ts'
import { pemFromDer } from '#ca/x509/index.ts'
import { createTokenReview, type TokenReview } from '#deploy/kubernetes/token-review.ts'
import { Client, failureOf, newCsr, realClock, type RunningCa, startCa } from '#test/ca/harness.ts'

const kubeconfig = process.env['REDOUBT_KUBECONFIG'] ?? ''
const kubectlPath = process.env['REDOUBT_KUBECTL'] ?? ''
const isThere = kubeconfig !== '' && kubectlPath !== ''
const test = (isThere ? anyTest.serial : anyTest.skip) as TestFn

async function kubectl(...args: readonly string[]): Promise<string> {
  const env = { ...process.env, KUBECONFIG: kubeconfig }
  return (await promisify(execFile)(kubectlPath, args, { env })).stdout.trim()
}

const tokenOf = (account: string, ...more: readonly string[]) =>
  kubectl('create', 'token', account, '-n', 'redoubt-system', '--audience', 'redoubt-ca', ...more)

let running: RunningCa
let cluster: TokenReview
if (isThere) {
  anyTest.before(async () => {
    await kubectl('create', 'namespace', 'redoubt-system')
    for (const account of ['agent', 'api', 'leaving']) {
      await kubectl('create', 'serviceaccount', account, '-n', 'redoubt-system')
    }
    const rule = { namespace: 'redoubt-system', scope: ['spiffe://prod.example/ns/pay/*'] }
    const agents = [
      { ...rule, serviceAccount: 'agent', agentId: 'spiffe://prod.example/agent' },
      { ...rule, serviceAccount: 'leaving', agentId: 'spiffe://prod.example/node/{node}' },
    ]
    const audiences = ['redoubt-ca', 'istio-ca']
    cluster = createTokenReview(kubeconfig, { clock: realClock, now: () => Temporal.Now.instant() })
    running = await startCa(
      { attestation: { kubernetes: { audiences, agents } } },
      { reviewToken: cluster.review },
    )
  })
  anyTest.after.always(() => running?.[Symbol.asyncDispose]())
}

async function attestWith(kubernetesToken: string) {
  using client = new Client(running.ca)
  return (await client.attest({ kubernetesToken }, newCsr())).svid?.spiffeId
}

async function refusalOf(kubernetesToken: string) {
  using client = new Client(running.ca)
  const { reason, details } = await failureOf(client.attest({ kubernetesToken }, newCsr()))
  return `${reason} ${details}`
}

test('a token that the API server made for our audience lets its agent in, again and again', async (t) => {
  const token = await tokenOf('agent')
  t.is(await attestWith(token), 'spiffe://prod.example/agent')
  t.is(await attestWith(token), 'spiffe://prod.example/agent')
})

test('users §1.1.14: how far the clock of the API server is off is known from its answers', async (t) => {
  await attestWith(await tokenOf('agent'))
  t.is(cluster.clockOffsetMs(), 0)
})

test('a token for another audience, or for the API server itself, is refused', async (t) => {
  const other = await kubectl('create', 'token', 'agent', '-n', 'redoubt-system', '--audience', 'x')
  t.regex(await refusalOf(other), /^CA_EVIDENCE_REFUSED /)
  const none = await kubectl('create', 'token', 'agent', '-n', 'redoubt-system')
  t.regex(await refusalOf(none), /^CA_EVIDENCE_REFUSED /)
})

test('a token of an account that is no agent is refused', async (t) => {
  t.regex(
    await refusalOf(await tokenOf('api')),
    /redoubt-system\/api is not the account of an agent/,
  )
})

test('a token that has ended, or is signed by a stranger, is refused', async (t) => {
  const pki = join(dirname(kubeconfig), 'pki')
  const good = await tokenOf('agent')
  const [header = '', body = ''] = good.split('.')
  const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as Record<string, unknown>
  const key = createPrivateKey(await readFile(join(pki, 'sa.key'), 'utf8'))
  const resigned = (change: object, by = key) => {
    const text = `${header}.${Buffer.from(JSON.stringify({ ...claims, ...change })).toString('base64url')}`
    return `${text}.${sign('sha256', Buffer.from(text), by).toString('base64url')}`
  }
  t.is(await attestWith(resigned({})), 'spiffe://prod.example/agent', 'the base')
  const now = Math.floor(Date.now() / 1000)
  t.regex(
    await refusalOf(resigned({ iat: now - 7200, nbf: now - 7200, exp: now - 3600 })),
    /expired|CA_EVIDENCE_REFUSED/,
  )
  const { generateKeyPairSync } = await import('node:crypto')
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  t.regex(await refusalOf(resigned({}, privateKey)), /^CA_EVIDENCE_REFUSED /)
})

test('a token bound to a pod names its node, and ends with the pod', async (t) => {
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'agent-1', namespace: 'redoubt-system' },
    spec: {
      serviceAccountName: 'leaving',
      nodeName: 'node-1',
      containers: [{ name: 'a', image: 'lab.local/a' }],
    },
  }
  const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-1' } }
  for (const one of [node, pod]) await applyJson(one)
  const bound = await tokenOf(
    'leaving',
    '--bound-object-kind',
    'Pod',
    '--bound-object-name',
    'agent-1',
  )
  t.is(await attestWith(bound), 'spiffe://prod.example/node/node-1')
  await kubectl('delete', 'pod', 'agent-1', '-n', 'redoubt-system', '--force', '--grace-period=0')
  t.regex(await refusalUntil(bound), /^CA_EVIDENCE_REFUSED /)
})

test('a token of a service account that was deleted is refused', async (t) => {
  const token = await tokenOf('leaving')
  await kubectl('delete', 'serviceaccount', 'leaving', '-n', 'redoubt-system')
  t.regex(await refusalUntil(token), /^CA_EVIDENCE_REFUSED /)
})

test('§15.3 Istio’s certificate service knows a workload by its token', async (t) => {
  const chain = await istioChain(
    running.ca,
    await kubectl('create', 'token', 'api', '-n', 'redoubt-system', '--audience', 'istio-ca'),
  )
  t.is(
    new X509Certificate(chain[0] ?? '').subjectAltName,
    'URI:spiffe://prod.example/ns/redoubt-system/sa/api',
  )
  const wrong = await kubectl('create', 'token', 'api', '-n', 'redoubt-system', '--audience', 'x')
  t.like(await failureOf(istioChain(running.ca, wrong)), {
    details: 'request authenticate failure',
  })
})

async function applyJson(one: object): Promise<void> {
  const child = execFile(kubectlPath, ['create', '-f', '-'], {
    env: { ...process.env, KUBECONFIG: kubeconfig },
  })
  child.stdin?.end(JSON.stringify(one))
  await new Promise((resolve, reject) =>
    child.on('exit', (code) => (code === 0 ? resolve(0) : reject(new Error(`kubectl: ${code}`)))),
  )
}

/** An API server takes good verdicts from memory for some 10 s. */
async function refusalUntil(token: string): Promise<string> {
  for (let tries = 0; tries < 60; tries += 1) {
    const said = await attestWith(token).then(
      () => undefined,
      () => refusalOf(token),
    )
    if (said !== undefined) return said
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
  return 'it was not refused'
}

function istioChain(ca: Ca, token: string): Promise<readonly string[]> {
  const roots = Buffer.from(pemFromDer('CERTIFICATE', ca.bundle.current.roots))
  const client = new IstioCertificateServiceClient(
    ca.address,
    ChannelCredentials.createSsl(roots, null, null, { checkServerIdentity: () => undefined }),
    { 'grpc.use_local_subchannel_pool': 1, 'grpc.ssl_target_name_override': 'ca.invalid' },
  )
  const metadata = new Metadata()
  metadata.set('authorization', `Bearer ${token}`)
  const csr = pemFromDer('CERTIFICATE REQUEST', newCsr())
  return new Promise<readonly string[]>((resolve, reject) => {
    client.createCertificate(
      { csr, validityDuration: 0n, metadata: {} },
      metadata,
      (cause, response) => (cause ? reject(cause) : resolve(response.certChain)),
    )
  }).finally(() => client.close())
}
