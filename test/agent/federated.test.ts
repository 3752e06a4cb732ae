/** Bundles of other trust domains, as clients of the agent's socket are given them. */
import test from 'ava'
import { selectSecrets, secretsOf } from '../../agent/sds/secrets.ts'
import { secretToProto } from '../../agent/sds/to-proto.ts'
import type { WorkloadIdentity } from '../../agent/svid/watch-identity.ts'
import { encodeIdentity } from '../../agent/workload-api/encode.ts'
import {
  bundlesToProto,
  federatedOf,
  jwtBundlesToProto,
} from '../../agent/workload-api/to-proto.ts'
import {
  Secret,
  SPIFFECertValidatorConfig,
} from '#agent/proto/gen/envoy/extensions/transport_sockets/tls/v3/secret.ts'
import { X509SVIDResponse } from '#agent/proto/gen/workload.ts'
import { parseTrustDomain } from '#ca/spiffe/index.ts'
import { pemFromDer, type TrustBundle } from '#ca/x509/index.ts'
import { trustDomain, workloadId } from '#test/ca/harness.ts'
import { forgeRoot } from '#test/ca/x509/forge.ts'

const own = forgeRoot().der
const foreign = forgeRoot({ serial: Uint8Array.of(9) }).der
const other = parseTrustDomain('a-other.example')
const bundle: TrustBundle = {
  trustDomain,
  generation: 3,
  roots: [own],
  jwtKeys: [],
  federated: [{ trustDomain: other, generation: 1, roots: [foreign], jwtKeys: [] }],
}
const identity: WorkloadIdentity = {
  svid: {
    id: workloadId,
    chain: [own],
    keyDer: new Uint8Array(),
    serial: '01',
    keyIds: [],
    life: { issuedAt: Temporal.Now.instant(), notAfter: Temporal.Now.instant() },
  },
  bundle,
}

test('identity-standards §1.9 federated_bundles has each other domain under its SPIFFE ID, and none is merged', (t) => {
  const { svids, federatedBundles } = X509SVIDResponse.decode(encodeIdentity(identity))
  t.deepEqual(svids[0]?.bundle, Buffer.from(own))
  t.deepEqual(federatedBundles, { 'spiffe://a-other.example': Buffer.from(foreign) })
  t.deepEqual(bundlesToProto(bundle).bundles, {
    'spiffe://prod.example': Buffer.from(own),
    'spiffe://a-other.example': Buffer.from(foreign),
  })
  t.deepEqual(
    Object.keys(
      jwtBundlesToProto([
        [trustDomain, '{}'],
        [other, '{}'],
      ]).bundles,
    ),
    ['spiffe://prod.example', 'spiffe://a-other.example'],
  )
})

test('an SVID is encoded as the .proto says, whatever its size', (t) => {
  const sizes = [1, 100, 127, 128, 700, 16_383, 16_384, 70_000]
  for (const keyBytes of sizes) {
    for (const chainBytes of sizes) {
      const keyDer = new Uint8Array(keyBytes).fill(7)
      const chain = [new Uint8Array(chainBytes).fill(1), own]
      const svid = { ...identity.svid, keyDer, chain }
      const message: X509SVIDResponse = {
        svids: [
          {
            spiffeId: workloadId,
            x509Svid: Buffer.concat(chain),
            x509SvidKey: Buffer.from(keyDer),
            bundle: Buffer.concat(bundle.roots),
            hint: '',
          },
        ],
        crl: [],
        federatedBundles: federatedOf(bundle),
      }
      const expected = Buffer.from(X509SVIDResponse.encode(message).finish())
      t.true(encodeIdentity({ svid, bundle }).equals(expected), `${keyBytes} and ${chainBytes}`)
    }
  }
})

test('an SVID goes with the bundle of its moment, not with the last one that was encoded', (t) => {
  const later = { ...bundle, generation: 4, roots: [foreign], federated: [] }
  for (const one of [bundle, later, bundle]) {
    const { svids, federatedBundles } = X509SVIDResponse.decode(
      encodeIdentity({ ...identity, bundle: one }),
    )
    t.deepEqual(svids[0]?.bundle, Buffer.concat(one.roots))
    t.deepEqual(federatedBundles, federatedOf(one))
  }
})

/** Trust domain and roots of a validation context, by the validator that it names. */
function validated(name: string): Readonly<Record<string, string>> {
  const [ref] = selectSecrets([name], identity)
  if (!ref) throw new Error(`there is no secret ${name}`)
  const { type } = Secret.decode(secretToProto(ref, identity, 'spiffe').value)
  if (type?.$case !== 'validationContext') throw new Error(`${name} is no validation context`)
  const config = type.validationContext.customValidatorConfig?.typedConfig?.value
  const { trustDomains } = SPIFFECertValidatorConfig.decode(config ?? new Uint8Array())
  return Object.fromEntries(
    trustDomains.map((one) => {
      const source = one.trustBundle?.specifier
      const text = source?.$case === 'inlineBytes' ? source.inlineBytes.toString() : ''
      return [one.name, text]
    }),
  )
}

test('identity-standards §2.6 a federated domain is a secret of its own, and ALL is every domain sorted by name', (t) => {
  const [ownPem, foreignPem] = [own, foreign].map((der) => pemFromDer('CERTIFICATE', der))
  t.deepEqual(validated('spiffe://a-other.example'), { 'a-other.example': foreignPem ?? '' })
  t.deepEqual(validated('spiffe://prod.example'), { 'prod.example': ownPem ?? '' })
  const all = validated('ALL')
  t.deepEqual(Object.keys(all), ['a-other.example', 'prod.example'])
  t.deepEqual(all['a-other.example'], foreignPem)
  t.true(secretsOf(identity).has('spiffe://a-other.example'))
  t.throws(() => selectSecrets(['spiffe://nobody.example'], identity), {
    code: 'AGENT_REQUEST_INVALID',
  })
})
