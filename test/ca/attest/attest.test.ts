/** Every kind of evidence but the join token, over the CA's real listener. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import test from 'ava'
import { proofText } from '#ca/attest/certificate-proof.ts'
import type { AttestationConfig, ReviewToken, TokenVerdict } from '#ca/index.ts'
import { OID, readCertificate } from '#ca/x509/index.ts'
import {
  attestedClient,
  Client,
  failureOf,
  newCsr,
  newKey,
  type RunningCa,
  startCa,
  svidOf,
  trustDomain,
} from '../harness.ts'
import {
  ext,
  type Forged,
  type Forgery,
  forgeIssuing,
  forgeLeaf,
  forgeRoot,
} from '../x509/forge.ts'

const NODE_AGENT = 'spiffe://prod.example/node/{node}'
const token = 'aaaa.bbbb.cccc'
const kubernetes = {
  audiences: ['redoubt-ca'],
  agents: [
    {
      namespace: 'redoubt-system',
      serviceAccount: 'redoubt-agent',
      agentId: NODE_AGENT,
      scope: ['spiffe://prod.example/ns/pay/*'],
    },
  ],
}
const vouched: Extract<TokenVerdict, { kind: 'ok' }> = {
  kind: 'ok',
  username: 'system:serviceaccount:redoubt-system:redoubt-agent',
  groups: ['system:serviceaccounts', 'system:authenticated'],
  audiences: ['redoubt-ca'],
  pod: { name: 'agent-x', uid: '1' },
  node: { name: 'node-1', uid: '2' },
}

function startWith(attestation: AttestationConfig, reviewToken?: ReviewToken) {
  return startCa({ attestation }, reviewToken ? { reviewToken } : {})
}

test('Attest takes a Kubernetes token for which the cluster vouches, and each node is an agent of its own', async (t) => {
  const asked: unknown[] = []
  await using running = await startWith({ kubernetes }, async (...args) => {
    asked.push(args)
    return vouched
  })
  using client = new Client(running.ca)
  const { svid } = await client.attest({ kubernetesToken: token }, newCsr())
  t.is(svid?.spiffeId, 'spiffe://prod.example/node/node-1')
  t.deepEqual(asked, [[token, ['redoubt-ca']]])
  const attested = running.log.find(({ event }) => event === 'agent-attested')
  t.is(attested?.fields['kind'], 'kubernetes')
  t.false(JSON.stringify(running.log).includes(token), 'no token in a log')
})

/** Each case is the verdict of a good token with one thing changed. */
const verdicts: Readonly<Record<string, readonly [TokenVerdict, RegExp]>> = {
  'that the cluster refuses': [{ kind: 'refused', reason: 'token expired' }, /token expired/],
  'for another audience': [{ ...vouched, audiences: ['api'] }, /it is not for redoubt-ca/],
  'whose audience the cluster did not check': [{ ...vouched, audiences: [] }, /it is not for/],
  'of a user': [{ ...vouched, username: 'kubernetes-admin' }, /expected a service account/],
  'of an account outside the group of accounts': [{ ...vouched, groups: [] }, /expected a service/],
  'of an account that is no agent': [
    { ...vouched, username: 'system:serviceaccount:pay:api' },
    /pay\/api is not the account of an agent/,
  ],
  'that is bound to no node': [(({ node: _, ...rest }) => rest)(vouched), /it names no node/],
}
/** A CA for all cases, whose cluster says of a token what the case is called by. */
let asking: RunningCa
test.before(async () => {
  asking = await startWith({ kubernetes }, async (asked) => {
    const [what = ''] = asked.split('.')
    return verdicts[Buffer.from(what, 'base64url').toString()]?.[0] ?? vouched
  })
})
test.after.always(() => asking[Symbol.asyncDispose]())
for (const [what, [, says]] of Object.entries(verdicts)) {
  test(`Attest refuses a Kubernetes token ${what} (users §2.2.27)`, async (t) => {
    using client = new Client(asking.ca)
    const kubernetesToken = `${Buffer.from(what).toString('base64url')}.b.c`
    const failure = await failureOf(client.attest({ kubernetesToken }, newCsr()))
    t.is(failure.reason, 'CA_EVIDENCE_REFUSED')
    t.regex(failure.details, says)
  })
}

test('Attest asks the cluster nothing for what is no token, and is honest when it cannot be asked', async (t) => {
  let asked = 0
  await using running = await startWith({ kubernetes }, async () => {
    asked += 1
    throw new Error('the cluster did not answer')
  })
  using client = new Client(running.ca)
  for (const bad of ['x', 'a.b', 'a b.c.d', 'a.b.c.d']) {
    const failure = await failureOf(client.attest({ kubernetesToken: bad }, newCsr()))
    t.is(failure.reason, 'CA_EVIDENCE_REFUSED')
  }
  t.is(asked, 0)
  const away = await failureOf(client.attest({ kubernetesToken: token }, newCsr()))
  t.is(away.reason, 'CA_REVIEW_UNAVAILABLE')
  t.is(away.code, 14)
})

test('Attest wants evidence of exactly one kind, and only kinds that the CA was told to believe', async (t) => {
  await using running = await startCa()
  using client = new Client(running.ca)
  t.is((await failureOf(client.attest({}, newCsr()))).reason, 'CA_EVIDENCE_REFUSED')
  const two = { joinToken: 'a', kubernetesToken: token }
  t.regex((await failureOf(client.attest(two, newCsr()))).details, /2 kinds of evidence/)
  const unsupported = 'CA_CREDENTIAL_UNSUPPORTED'
  t.is((await failureOf(client.attest({ kubernetesToken: token }, newCsr()))).reason, unsupported)
  t.is((await failureOf(client.challenge())).reason, unsupported)
})

// Machines have certificates of the machine's own time: these are good today.
const today = Temporal.Now.instant()
const good = { notBefore: today.subtract({ hours: 1 }), notAfter: today.add({ hours: 1 }) }
const noUri = { san: undefined }
const machineRoot = forgeRoot({ ...good, extensions: noUri })
const machineCa = forgeIssuing(machineRoot, { ...good, extensions: noUri })
const machine = (change: Forgery = {}, by = machineCa): Forged =>
  forgeLeaf(by, {
    ...good,
    ...change,
    extensions: {
      san: ext.san([[2, 'db-1.nodes.example']], false),
      eku: ext.eku(OID.clientAuth),
      ...change.extensions,
    },
  })
const certificates = [
  {
    roots: [machineRoot.der],
    name: '*.nodes.example',
    agentId: 'spiffe://prod.example/machine/{name}',
    scope: ['spiffe://prod.example/ns/db/*'],
  },
]

/** A CA for all cases: a proof that is refused changes nothing. */
let believing: RunningCa
test.before(async () => {
  believing = await startWith({ certificates })
})
test.after.always(() => believing[Symbol.asyncDispose]())

interface Change {
  readonly leaf?: Forged
  readonly chain?: readonly Uint8Array[]
  readonly key?: KeyObject
  readonly challenge?: (given: Buffer) => Buffer
  readonly text?: (text: Uint8Array) => Uint8Array
}

async function prove(client: Client, change: Change = {}, csr = newCsr()) {
  const { leaf = machine() } = change
  const { chain = [leaf.der, machineCa.der], key = leaf.key } = change
  const given = await client.challenge()
  const challenge = change.challenge?.(given) ?? given
  const text = proofText(trustDomain, challenge, csr)
  const hash = key.asymmetricKeyType === 'ed25519' ? null : 'sha256'
  const signature = sign(hash, change.text?.(text) ?? text, key)
  const certificate = { chain: chain.map((der) => Buffer.from(der)), challenge, signature }
  return client.attest({ certificate }, csr)
}

for (const [name, key] of [
  ['EC P-256', newKey()],
  ['EC P-384', generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey],
  ['RSA-2048', generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey],
  ['Ed25519', generateKeyPairSync('ed25519').privateKey],
] as const) {
  test(`Attest takes a machine that proves possession of its certificate's key, ${name}`, async (t) => {
    using client = new Client(believing.ca)
    const { svid } = await prove(client, { leaf: machine({ key }) })
    t.is(svid?.spiffeId, 'spiffe://prod.example/machine/db-1.nodes.example')
  })
}

const stranger = forgeRoot({ ...good, key: newKey(), extensions: noUri })
/** Each case is the good proof with one thing changed. */
const proofs: Readonly<Record<string, readonly [Change, RegExp]>> = {
  'by another key': [{ key: newKey() }, /not signed by its key/],
  'over another text': [{ text: () => Buffer.from('x') }, /not signed by its key/],
  'over a challenge of its own': [
    { challenge: () => Buffer.alloc(64, 7) },
    /the challenge is not of this CA/,
  ],
  'over a challenge that was changed': [
    { challenge: (given) => Buffer.from(given.map((byte, at) => (at === 30 ? byte ^ 1 : byte))) },
    /the challenge is not of this CA/,
  ],
  'without a certificate': [{ chain: [] }, /it has no certificate/],
  'with a chain that is too long': [
    { chain: Array.from({ length: 6 }, () => machineCa.der) },
    /its chain has 6 certificates/,
  ],
  'of a certificate of a stranger': [
    { leaf: machine({}, stranger), chain: [machine({}, stranger).der, stranger.der] },
    /no authority that is believed issued its certificate/,
  ],
  'of a certificate that has ended': [
    { leaf: machine({ notAfter: today.subtract({ minutes: 1 }) }) },
    /^Cannot believe the certificate: expired: /,
  ],
  'of a certificate with another name': [
    { leaf: machine({ extensions: { san: ext.san([[2, 'db-1.evil.example']], false) } }) },
    /its certificate has no name that is expected/,
  ],
  'of a certificate with a name one label deeper': [
    { leaf: machine({ extensions: { san: ext.san([[2, 'a.b.nodes.example']], false) } }) },
    /its certificate has no name that is expected/,
  ],
  'of a CA': [{ leaf: machine({ extensions: { bc: ext.ca() } }) }, /its certificate is a CA/],
  'of a key that is not for signing': [
    { leaf: machine({ extensions: { ku: ext.keyUsage(0x20) } }) },
    /its certificate may not sign/,
  ],
}
for (const [what, [change, says]] of Object.entries(proofs)) {
  test(`Attest refuses a proof of possession ${what}`, async (t) => {
    using client = new Client(believing.ca)
    const failure = await failureOf(prove(client, change))
    t.is(failure.reason, 'CA_EVIDENCE_REFUSED')
    t.regex(failure.details, says)
  })
}

test('Attest takes a challenge once, within a minute, and for the request that was signed with it', async (t) => {
  let now = today
  await using running = await startCa({ attestation: { certificates } }, { now: () => now })
  using client = new Client(running.ca, undefined, {}, false)
  const csr = newCsr()
  const leaf = machine()
  const challenge = await client.challenge()
  const proof = (over: Buffer, at: Buffer) => ({
    certificate: {
      chain: [Buffer.from(leaf.der), Buffer.from(machineCa.der)],
      challenge: at,
      signature: sign('sha256', proofText(trustDomain, at, over), leaf.key),
    },
  })
  const other = await failureOf(client.attest(proof(csr, challenge), newCsr()))
  t.regex(other.details, /the challenge and the request are not signed/)
  t.truthy((await client.attest(proof(csr, challenge), csr)).svid)
  const again = await failureOf(client.attest(proof(csr, challenge), csr))
  t.regex(again.details, /was answered before/)
  const late = await client.challenge()
  now = now.add({ seconds: 61 })
  t.regex((await failureOf(client.attest(proof(csr, late), csr))).details, /has ended/)
})

test('an existing certificate proves its own name and no other, while it is not revoked', async (t) => {
  await using running = await startCa()
  using agent = await attestedClient(running.ca, ['spiffe://prod.example/ns/pay/*'])
  const { spiffeId } = agent.svid
  const renewed = svidOf(await agent.client.issue({ spiffeId, csr: newCsr() }))
  t.is(renewed.spiffeId, spiffeId)
  const elsewhere = { spiffeId: 'spiffe://prod.example/ns/db/sa/admin', csr: newCsr() }
  await t.throwsAsync(async () => svidOf(await agent.client.issue(elsewhere)), {
    message: 'CA_NOT_ADMITTED',
  })
  const { serial } = readCertificate(agent.svid.chain[0] ?? new Uint8Array())
  const until = Temporal.Now.instant().add({ hours: 1 })
  const at = Date.now()
  const call = { at, caller: 'admin', action: 'revoke', detail: serial, outcome: 'done' }
  await running.ca.denials.deny([{ kind: 'serial', value: serial, until }], call)
  using again = new Client(running.ca, { svid: agent.svid, key: agent.key })
  await t.throwsAsync(again.issue({ spiffeId, csr: newCsr() }))
})
