/** SDS over a real socket, with a client of our own stubs. */
import { X509Certificate } from 'node:crypto'
import { type ServiceError, status } from '@grpc/grpc-js'
import test from 'ava'
import {
  Secret,
  SPIFFECertValidatorConfig,
} from '#agent/proto/gen/envoy/extensions/transport_sockets/tls/v3/secret.ts'
import type {
  DeltaDiscoveryRequest,
  DeltaDiscoveryResponse,
  DiscoveryRequest,
  DiscoveryResponse,
} from '#agent/proto/gen/envoy/service/discovery/v3/discovery.ts'
import type { SecretDiscoveryServiceClient } from '#agent/proto/gen/envoy/service/secret/v3/sds.ts'
import type { Any } from '#agent/proto/gen/google/protobuf/any.ts'
import { pemFromDer } from '#ca/x509/index.ts'
import { workloadId } from '#test/ca/harness.ts'
import { type AgentStory, hear, sdsClient, startStory, until } from '../harness.ts'

const TYPE = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret'

const request = (change: Partial<DiscoveryRequest> = {}): DiscoveryRequest => ({
  versionInfo: '',
  node: { id: 'envoy-1', cluster: 'c', metadata: undefined },
  resourceNames: ['default'],
  typeUrl: TYPE,
  responseNonce: '',
  errorDetail: undefined,
  ...change,
})

const deltaRequest = (change: Partial<DeltaDiscoveryRequest> = {}): DeltaDiscoveryRequest => ({
  node: undefined,
  typeUrl: TYPE,
  resourceNamesSubscribe: [],
  resourceNamesUnsubscribe: [],
  initialResourceVersions: {},
  responseNonce: '',
  errorDetail: undefined,
  ...change,
})

function secretOf(any: Any | undefined): Secret {
  if (any?.typeUrl !== TYPE) throw new Error(`not a secret: ${any?.typeUrl}`)
  return Secret.decode(any.value)
}

function fetch(
  client: SecretDiscoveryServiceClient,
  change: Partial<DiscoveryRequest> = {},
): Promise<DiscoveryResponse> {
  return new Promise((resolve, reject) => {
    client.fetchSecrets(request(change), (cause, response) =>
      cause ? reject(cause) : resolve(response),
    )
  })
}

const inline = (source: { specifier?: unknown } | undefined): string => {
  const { specifier } = source ?? {}
  const { inlineBytes } = specifier as { inlineBytes: Buffer }
  return inlineBytes.toString()
}

function rootsPem(story: AgentStory): string {
  return pemFromDer('CERTIFICATE', story.ca().bundle.current.roots)
}

test('FetchSecrets gives certificate and key as PEM under "default" and under the SPIFFE ID', async (t) => {
  await using story = await startStory()
  using client = sdsClient(story.agent)
  for (const name of ['default', workloadId]) {
    const response = await fetch(client.raw, { resourceNames: [name] })
    t.deepEqual([response.versionInfo, response.nonce, response.typeUrl], ['', '', TYPE])
    t.is(response.resources.length, 1)
    const secret = secretOf(response.resources[0])
    t.is(secret.name, name)
    if (secret.type?.$case !== 'tlsCertificate') return t.fail('no certificate')
    const { certificateChain, privateKey } = secret.type.tlsCertificate
    const leaf = new X509Certificate(inline(certificateChain))
    t.is(leaf.subjectAltName, `URI:${workloadId}`)
    t.regex(inline(privateKey), /^-----BEGIN PRIVATE KEY-----\n/)
  }
})

for (const name of ['ALL', 'spiffe://prod.example']) {
  test(`FetchSecrets gives the trust domain's roots by Envoy's SPIFFE validator under ${name}`, async (t) => {
    await using story = await startStory()
    using client = sdsClient(story.agent)
    const response = await fetch(client.raw, { resourceNames: [name] })
    const secret = secretOf(response.resources[0])
    t.is(secret.name, name)
    if (secret.type?.$case !== 'validationContext') return t.fail('no validation context')
    const { trustedCa, customValidatorConfig } = secret.type.validationContext
    t.is(trustedCa, undefined)
    t.is(customValidatorConfig?.name, 'envoy.tls.cert_validator.spiffe')
    const { typedConfig } = customValidatorConfig ?? {}
    t.regex(typedConfig?.typeUrl ?? '', /\.SPIFFECertValidatorConfig$/)
    const config = SPIFFECertValidatorConfig.decode(typedConfig?.value ?? Buffer.alloc(0))
    t.deepEqual(
      config.trustDomains.map(({ name: domain, trustBundle }) => [domain, inline(trustBundle)]),
      [['prod.example', rootsPem(story)]],
    )
  })
}

test('ROOTCA is a plain trusted_ca for everybody, as clients of Istio expect', async (t) => {
  await using story = await startStory()
  using client = sdsClient(story.agent)
  const response = await fetch(client.raw, { resourceNames: ['ROOTCA'] })
  const { name, type } = secretOf(response.resources[0])
  t.is(name, 'ROOTCA')
  if (type?.$case !== 'validationContext') return t.fail('no validation context')
  t.is(inline(type.validationContext.trustedCa), rootsPem(story))
  t.is(type.validationContext.customValidatorConfig, undefined)
})

test('node metadata may ask for plain trusted_ca; ALL cannot be had so', async (t) => {
  await using story = await startStory()
  using client = sdsClient(story.agent)
  for (const value of [true, 'true']) {
    const node = { id: '', cluster: '', metadata: { disable_spiffe_cert_validation: value } }
    const response = await fetch(client.raw, { resourceNames: ['spiffe://prod.example'], node })
    const { type } = secretOf(response.resources[0])
    if (type?.$case !== 'validationContext') return t.fail('no validation context')
    t.is(inline(type.validationContext.trustedCa), rootsPem(story))
    t.is(type.validationContext.customValidatorConfig, undefined)
    const refused = await t.throwsAsync(fetch(client.raw, { resourceNames: ['ALL'], node }))
    t.is((refused as ServiceError | undefined)?.code, status.INVALID_ARGUMENT)
  }
})

test('an empty list of names stands for both secrets by their IDs, certificate first', async (t) => {
  await using story = await startStory()
  using client = sdsClient(story.agent)
  const { resources } = await fetch(client.raw, { resourceNames: [] })
  t.deepEqual(
    resources.map((any) => secretOf(any).name),
    [workloadId, 'spiffe://prod.example'],
  )
})

test('one name that it may not have refuses the whole request, listing such names in order', async (t) => {
  await using story = await startStory()
  using client = sdsClient(story.agent)
  const resourceNames = ['zebra', 'default', 'spiffe://prod.example/ns/pay/sa/other']
  const refused = await t.throwsAsync<ServiceError>(fetch(client.raw, { resourceNames }))
  t.is(refused?.code, status.INVALID_ARGUMENT)
  t.regex(
    refused?.details ?? '',
    /may not have \["spiffe:\/\/prod\.example\/ns\/pay\/sa\/other","zebra"\]$/,
  )
  const wrongType = await t.throwsAsync<ServiceError>(
    fetch(client.raw, { typeUrl: 'type.googleapis.com/envoy.config.cluster.v3.Cluster' }),
  )
  t.is(wrongType?.code, status.INVALID_ARGUMENT)
  const tooMany = await t.throwsAsync<ServiceError>(
    fetch(client.raw, { resourceNames: Array.from({ length: 65 }, (_, n) => String(n)) }),
  )
  t.is(tooMany?.code, status.INVALID_ARGUMENT)
})

test('SDS refuses a caller that nobody registered; it needs no security header', async (t) => {
  await using story = await startStory()
  using client = sdsClient(story.agent)
  t.is((await fetch(client.raw)).resources.length, 1)
  story.callersAre(undefined)
  const refused = await t.throwsAsync<ServiceError>(fetch(client.raw))
  t.is(refused?.code, status.PERMISSION_DENIED)
})

test('FetchSecrets gives up with Unavailable when there is no SVID in time', async (t) => {
  await using story = await startStory({ joinToken: 'none' })
  using client = sdsClient(story.agent)
  const answer = fetch(client.raw)
  answer.catch(() => {})
  await until(() => story.agent.load().calls === 1)
  await story.pass(5250)
  const refused = await t.throwsAsync<ServiceError>(answer)
  t.is(refused?.code, status.UNAVAILABLE)
  t.is(story.agent.load().calls, 0)
})

test('StreamSecrets pushes each rotation with a new version and nonce, and nothing on ACK', async (t) => {
  await using story = await startStory()
  using client = sdsClient(story.agent)
  const stream = client.raw.streamSecrets()
  const heard = hear<DiscoveryResponse>(stream)
  stream.write(request())
  for (let life = 1; life <= 4; life += 1) {
    await until(() => heard.messages.length === life, `response ${life}`)
    const { versionInfo, nonce }: DiscoveryResponse = heard.newest()
    t.is(versionInfo, story.rotations.at(-1)?.serial ?? 'none')
    stream.write(request({ versionInfo, responseNonce: nonce, node: undefined }))
    await story.pass(8000)
  }
  await until(() => heard.messages.length === 5)
  t.is(new Set(heard.messages.map(({ nonce }) => nonce)).size, 5)
  stream.end()
  await until(() => heard.ended())
  await until(() => story.agent.load().calls === 0)
})

test('StreamSecrets does not repeat what was NACKed, and goes on with the next', async (t) => {
  await using story = await startStory()
  using client = sdsClient(story.agent)
  const stream = client.raw.streamSecrets()
  const heard = hear<DiscoveryResponse>(stream)
  stream.write(request())
  await until(() => heard.messages.length === 1)
  const { nonce } = heard.newest()
  const errorDetail = { code: 3, message: 'cannot load key' }
  stream.write(request({ responseNonce: nonce, errorDetail }))
  await until(() => story.log.some(({ event }) => event === 'sds-rejected'))
  const logged = story.log.find(({ event }) => event === 'sds-rejected')
  t.deepEqual(logged?.fields, {
    id: workloadId,
    version: story.rotations[0]?.serial,
    reason: 'cannot load key',
  })
  await story.pass(1000)
  t.is(heard.messages.length, 1)
  t.regex(await story.agent.metrics(), /redoubt_agent_sds_rejected_total 1/)
  await story.pass(7000)
  await until(() => heard.messages.length === 2, 'the successor')
  stream.cancel()
})

test('StreamSecrets answers changed names, ignores a stale nonce, refuses a name in mid-stream (identity-standards §5.7)', async (t) => {
  await using story = await startStory()
  using client = sdsClient(story.agent)
  const stream = client.raw.streamSecrets()
  const heard = hear<DiscoveryResponse>(stream)
  stream.write(request())
  await until(() => heard.messages.length === 1)
  const { nonce } = heard.newest()
  stream.write(request({ responseNonce: 'stale', resourceNames: ['ROOTCA'] }))
  stream.write(request({ responseNonce: nonce, resourceNames: ['default', 'ROOTCA'] }))
  await until(() => heard.messages.length === 2)
  t.deepEqual(
    heard.newest().resources.map((any) => secretOf(any).name),
    ['default', 'ROOTCA'],
  )
  t.is(heard.newest().versionInfo, `${story.rotations[0]?.serial}.g1`)
  t.deepEqual(
    story.log
      .filter(({ event }) => event === 'sds-stale-nonce')
      .map(({ fields }) => fields?.['nonce']),
    ['stale'],
  )
  stream.write(request({ responseNonce: heard.newest().nonce, resourceNames: ['nobody'] }))
  await until(() => heard.failure() !== undefined)
  t.is(heard.failure()?.code, status.INVALID_ARGUMENT)
  await until(() => story.agent.load().calls === 0)
})

test('DeltaSecrets sends a secret when it changes and never its neighbour', async (t) => {
  await using story = await startStory()
  using client = sdsClient(story.agent)
  const stream = client.raw.deltaSecrets()
  const heard = hear<DeltaDiscoveryResponse>(stream)
  stream.write(deltaRequest({ resourceNamesSubscribe: ['default', 'ROOTCA'] }))
  await until(() => heard.messages.length === 1)
  const names = () => heard.newest().resources.map(({ name, version }) => [name, version])
  t.deepEqual(names(), [
    ['default', story.rotations[0]?.serial],
    ['ROOTCA', 'g1'],
  ])
  stream.write(deltaRequest({ responseNonce: heard.newest().nonce }))
  await story.pass(8000)
  await until(() => heard.messages.length === 2)
  t.deepEqual(names(), [['default', story.rotations[1]?.serial]])
  const held = { default: story.rotations[1]?.serial ?? '', ROOTCA: 'g0' }
  stream.cancel()

  const again = client.raw.deltaSecrets()
  const next = hear<DeltaDiscoveryResponse>(again)
  again.write(
    deltaRequest({
      resourceNamesSubscribe: ['default', 'ROOTCA'],
      initialResourceVersions: held,
    }),
  )
  await until(() => next.messages.length === 1)
  t.deepEqual(
    next.newest().resources.map(({ name }) => name),
    ['ROOTCA'],
    'what it holds in the newest version is left out',
  )
  again.cancel()
})

test('a request that is too large ends the call, not the agent', async (t) => {
  await using story = await startStory()
  using client = sdsClient(story.agent)
  const huge = 'x'.repeat(100_000)
  const refused = await t.throwsAsync<ServiceError>(fetch(client.raw, { resourceNames: [huge] }))
  t.is(refused?.code, status.RESOURCE_EXHAUSTED)
  const names = Array.from({ length: 65 }, (_, at) => `n${at}`)
  const many = await t.throwsAsync<ServiceError>(fetch(client.raw, { resourceNames: names }))
  t.is(many?.code, status.INVALID_ARGUMENT)
  t.regex(many?.details ?? '', /it has 65 names, expected at most 64$/)
  t.is((await fetch(client.raw)).resources.length, 1)
})
