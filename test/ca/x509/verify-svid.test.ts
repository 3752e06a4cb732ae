import { generateKeyPairSync } from 'node:crypto'
import test from 'ava'
import fc from 'fast-check'
import { contextTag, derOf, oid, sequence, TAG } from '#ca/x509/der.ts'
import {
  compileDenyList,
  type DenyKind,
  OID,
  type PeerRefusal,
  verifySvid,
} from '#ca/x509/index.ts'
import { parseTrustDomain } from '#ca/spiffe/index.ts'
import {
  bundleOf,
  EMPTY_NAME,
  ext,
  type Forged,
  type Forgery,
  forgeIssuing,
  forgeLeaf,
  forgeRoot,
  LEAF_ID,
  NOW,
  nameOf,
  USAGE,
} from './forge.ts'

/** The valid base: each case below is this with one thing changed. */
const root = forgeRoot()
const issuing = forgeIssuing(root)
const leaf = forgeLeaf(issuing)
const bundle = bundleOf('prod.example', root)
const rsa = (bits: number, publicExponent = 65_537) =>
  generateKeyPairSync('rsa', { modulusLength: bits, publicExponent }).privateKey

function verdict(
  chain: readonly Forged[],
  bundles = [bundle],
  role: 'client' | 'server' = 'client',
) {
  return verifySvid(
    chain.map(({ der }) => der),
    bundles,
    NOW,
    role,
  )
}

test('verifySvid() accepts the base, in both roles', (t) => {
  for (const role of ['client', 'server'] as const) {
    const answer = verdict([leaf, issuing], [bundle], role)
    t.is(answer.kind, 'ok')
    if (answer.kind !== 'ok') return
    t.is(String(answer.id), LEAF_ID)
    t.is(answer.serial, '1234')
    t.is(answer.notAfter.toString(), NOW.add({ hours: 1 }).toString())
  }
})

const acceptable: Readonly<Record<string, () => readonly Forged[]>> = {
  'a chain that ends with the root': () => [leaf, issuing, root],
  'certificates out of order': () => [leaf, root, issuing],
  'a leaf directly under the root': () => [forgeLeaf(root)],
  'a CRL distribution point, which nobody asks (users §1.3.33)': () => [
    changed({ odd: ext.raw('2.5.29.31', sequence(sequence()), false) }),
    issuing,
  ],
  'a leaf without extended key usage': () => [changed({ eku: undefined }), issuing],
  'a leaf with a DNS name beside the URI': () => [
    changed({
      san: ext.san([
        [6, LEAF_ID],
        [2, 'api.pay'],
      ]),
    }),
    issuing,
  ],
  'a subject, with a SAN that is not critical': () => [
    forgeLeaf(issuing, { name: nameOf('api'), extensions: { san: ext.uri(LEAF_ID, false) } }),
    issuing,
  ],
  'an Ed25519 leaf': () => [
    forgeLeaf(issuing, { key: generateKeyPairSync('ed25519').privateKey }),
    issuing,
  ],
  'an RSA issuing CA': () => {
    const rsaIssuing = forgeIssuing(root, { key: rsa(2048) })
    return [forgeLeaf(rsaIssuing), rsaIssuing]
  },
  'an issuer that allows exactly the CAs below it': () => {
    const middle = forgeIssuing(root, { extensions: { bc: ext.ca(0) } })
    return [forgeLeaf(middle), middle]
  },
  'an unrelated issuer of the same name in front of the right one': () => [
    leaf,
    forgeIssuing(root, { key: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey }),
    issuing,
  ],
  'a name constraint that permits the trust domain': () => constrained('prod.example', 'permitted'),
  'a name constraint on another kind of name': () =>
    constrained('elsewhere.example', 'permitted', 2),
}
for (const [what, chain] of Object.entries(acceptable)) {
  test(`verifySvid() accepts ${what}`, (t) => {
    t.like(verdict(chain()), { kind: 'ok', id: LEAF_ID })
  })
}

function changed(extensions: NonNullable<Forgery['extensions']>): Forged {
  return forgeLeaf(issuing, { extensions })
}

/** A leaf whose one alternative name has this tag. */
function named(tag: number): Forged {
  const name = derOf(tag, derOf(TAG.utf8String, Buffer.from(LEAF_ID)))
  return changed({ san: ext.raw(OID.subjectAltName, sequence(name), true) })
}

function under(change: Forgery): readonly Forged[] {
  const middle = forgeIssuing(root, change)
  return [forgeLeaf(middle), middle]
}

function constrained(host: string, list: 'permitted' | 'excluded', type = 6): readonly Forged[] {
  const subtree = sequence(derOf(contextTag(type, 'primitive'), Buffer.from(host)))
  const value = sequence(derOf(contextTag(list === 'permitted' ? 0 : 1), subtree))
  return under({ extensions: { nc: ext.raw(OID.nameConstraints, value, true) } })
}

const otherName = sequence(
  oid('1.2.3'),
  derOf(contextTag(0), derOf(TAG.utf8String, Buffer.from('victim\0evil'))),
)

const refused: Readonly<Record<string, readonly [PeerRefusal, () => readonly Forged[]]>> = {
  'no certificate': ['no-certificate', () => []],
  'nine certificates': ['chain-too-long', () => [leaf, ...Array(8).fill(issuing)]],
  'no intermediate': ['untrusted-issuer', () => [leaf]],

  // What the leaf says of itself.
  'a CA as leaf': ['leaf-is-ca', () => [issuing, root]],
  'a leaf that says that it is a CA': ['leaf-is-ca', () => [changed({ bc: ext.ca() }), issuing]],
  'a leaf without key usage': ['key-usage', () => [changed({ ku: undefined }), issuing]],
  'a leaf whose key usage is not critical': [
    'key-usage',
    () => [changed({ ku: ext.keyUsage(USAGE.digitalSignature, false) }), issuing],
  ],
  'a leaf that may not sign': ['key-usage', () => [changed({ ku: ext.keyUsage(0x20) }), issuing]],
  'a leaf with keyCertSign': [
    'key-usage',
    () => [changed({ ku: ext.keyUsage(USAGE.digitalSignature | USAGE.keyCertSign) }), issuing],
  ],
  'a leaf with cRLSign': [
    'key-usage',
    () => [changed({ ku: ext.keyUsage(USAGE.digitalSignature | USAGE.crlSign) }), issuing],
  ],
  'a leaf for servers only (users §2.1.5)': [
    'extended-key-usage',
    () => [changed({ eku: ext.eku(OID.serverAuth) }), issuing],
  ],
  'a leaf for code signing': [
    'extended-key-usage',
    () => [changed({ eku: ext.eku('1.3.6.1.5.5.7.3.3') }), issuing],
  ],
  'an unknown critical extension': [
    'unknown-critical-extension',
    () => [changed({ odd: ext.raw('1.2.3.4', sequence(), true) }), issuing],
  ],

  // Its name (users-and-performance §2.1).
  'no SAN': ['spiffe-id', () => [changed({ san: undefined }), issuing]],
  'two URI SANs': [
    'spiffe-id',
    () => [
      changed({
        san: ext.san([
          [6, LEAF_ID],
          [6, 'spiffe://prod.example/ns/pay/sa/b'],
        ]),
      }),
      issuing,
    ],
  ],
  'the same URI SAN twice': [
    'spiffe-id',
    () => [
      changed({
        san: ext.san([
          [6, LEAF_ID],
          [6, LEAF_ID],
        ]),
      }),
      issuing,
    ],
  ],
  'a SPIFFE ID as a DNS name': [
    'spiffe-id',
    () => [changed({ san: ext.san([[2, LEAF_ID]]) }), issuing],
  ],
  'a SPIFFE ID inside an otherName': [
    'spiffe-id',
    () => [changed({ san: ext.san([[0, otherName]]) }), issuing],
  ],
  'a NUL in the SAN (users §2.1.4)': [
    'spiffe-id',
    () => [changed({ san: ext.uri(`${LEAF_ID}\0.evil`) }), issuing],
  ],
  'a second name injected into the first (users §2.1.2)': [
    'spiffe-id',
    () => [
      changed({ san: ext.uri('spiffe://prod.example/ns/a,URI:spiffe://prod.example/ns/admin') }),
      issuing,
    ],
  ],
  'quotes in the SAN': ['spiffe-id', () => [changed({ san: ext.uri(`"${LEAF_ID}"`) }), issuing]],
  'bytes above ASCII in the SAN': [
    'spiffe-id',
    () => [changed({ san: ext.uri(`${LEAF_ID}\xe9`) }), issuing],
  ],
  'another scheme': [
    'spiffe-id',
    () => [changed({ san: ext.uri('https://prod.example/ns/a') }), issuing],
  ],
  'an upper-case trust domain': [
    'spiffe-id',
    () => [changed({ san: ext.uri('spiffe://Prod.example/ns/pay/sa/api') }), issuing],
  ],
  'a trust domain without a path': [
    'spiffe-id',
    () => [changed({ san: ext.uri('spiffe://prod.example') }), issuing],
  ],
  'a path that climbs': [
    'spiffe-id',
    () => [changed({ san: ext.uri('spiffe://prod.example/ns/../sa/api') }), issuing],
  ],
  'a SAN that is not critical with an empty subject': [
    'spiffe-id',
    () => [changed({ san: ext.uri(LEAF_ID, false) }), issuing],
  ],

  // Time.
  'an expired leaf': [
    'expired',
    () => [forgeLeaf(issuing, { notAfter: NOW.subtract({ seconds: 1 }) }), issuing],
  ],
  'a leaf of the future': [
    'not-yet-valid',
    () => [forgeLeaf(issuing, { notBefore: NOW.add({ seconds: 1 }) }), issuing],
  ],
  'an expired middle': ['expired', () => under({ notAfter: NOW.subtract({ seconds: 1 }) })],
  'a middle of the future': ['not-yet-valid', () => under({ notBefore: NOW.add({ seconds: 1 }) })],

  // Who signed.
  'an issuer without basic constraints (users §2.1.15)': [
    'issuer-not-ca',
    () => under({ extensions: { bc: undefined } }),
  ],
  'an issuer that is CA:FALSE': ['issuer-not-ca', () => under({ extensions: { bc: ext.notCa() } })],
  'an issuer without key usage': ['issuer-not-ca', () => under({ extensions: { ku: undefined } })],
  'an issuer without keyCertSign': [
    'issuer-not-ca',
    () => under({ extensions: { ku: ext.keyUsage(USAGE.digitalSignature) } }),
  ],
  'a leaf as issuer': [
    'issuer-not-ca',
    () => {
      const between = forgeLeaf(issuing, { name: nameOf('between') })
      return [forgeLeaf(between), between, issuing]
    },
  ],
  'a path longer than a CA allows': [
    'path-length',
    () => {
      const narrow = forgeIssuing(root, { extensions: { bc: ext.ca(0) } })
      const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
      const below = forgeIssuing(narrow, { key, name: nameOf('below') })
      return [forgeLeaf(below), below, narrow]
    },
  ],
  'an issuer for e-mail': [
    'extended-key-usage',
    () => under({ extensions: { eku: ext.eku('1.3.6.1.5.5.7.3.4') } }),
  ],
  'an issuer with an unknown critical extension': [
    'unknown-critical-extension',
    () => under({ extensions: { odd: ext.raw('1.2.3.4', sequence(), true) } }),
  ],
  'an issuer that is called like a workload': [
    'spiffe-id',
    () => under({ extensions: { san: ext.uri(LEAF_ID, false) } }),
  ],
  'an issuer of another trust domain': [
    'spiffe-id',
    () => under({ extensions: { san: ext.uri('spiffe://evil.example', false) } }),
  ],
  'a name constraint that permits another domain': [
    'name-constraint',
    () => constrained('elsewhere.example', 'permitted'),
  ],
  'a name constraint that excludes the domain': [
    'name-constraint',
    () => constrained('.example', 'excluded'),
  ],
  'a name constraint on a kind of name that the leaf has, which nothing here can judge': [
    'name-constraint',
    () => {
      const [, middle] = constrained('api.pay', 'permitted', 2)
      return [
        forgeLeaf(middle!, {
          extensions: {
            san: ext.san([
              [6, LEAF_ID],
              [2, 'api.pay'],
            ]),
          },
        }),
        middle!,
      ]
    },
  ],
  'a name constraint on subjects, for a leaf that has one': [
    'name-constraint',
    () => {
      const subtree = sequence(derOf(contextTag(4), nameOf('api')))
      const value = sequence(derOf(contextTag(0), subtree))
      const [, middle] = under({ extensions: { nc: ext.raw(OID.nameConstraints, value, true) } })
      return [forgeLeaf(middle!, { name: nameOf('api') }), middle!]
    },
  ],
  'name constraints that permit nothing that can be named': [
    'malformed',
    () => {
      const value = sequence(derOf(contextTag(0)))
      return under({ extensions: { nc: ext.raw(OID.nameConstraints, value, true) } })
    },
  ],
  'name constraints with limits': [
    'malformed',
    () => {
      const base = derOf(contextTag(6, 'primitive'), Buffer.from('prod.example'))
      const limited = sequence(base, derOf(contextTag(0, 'primitive'), Uint8Array.of(1)))
      const value = sequence(derOf(contextTag(0), limited))
      return under({ extensions: { nc: ext.raw(OID.nameConstraints, value, true) } })
    },
  ],
  'a leaf signed by another key than its issuer’s': [
    'bad-signature',
    () => [forgeLeaf(issuing, { signWith: root.key }), issuing],
  ],
  'an issuer signed by another key than the root’s': [
    'bad-signature',
    () => under({ signWith: leaf.key }),
  ],
  'a self-signed leaf': ['untrusted-issuer', () => [forgeLeaf({ ...leaf, name: EMPTY_NAME })]],
  'RSA of 1024 bits': ['malformed', () => [forgeLeaf(issuing, { key: rsa(1024) }), issuing]],
  'RSA with exponent 3': ['malformed', () => [forgeLeaf(issuing, { key: rsa(2048, 3) }), issuing]],
  'a key on another curve': [
    'malformed',
    () => [
      forgeLeaf(issuing, {
        key: generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey,
      }),
      issuing,
    ],
  ],
  'an extension twice': [
    'malformed',
    () => [changed({ again: ext.uri('spiffe://prod.example/ns/pay/sa/admin') }), issuing],
  ],
  'no extensions at all': [
    'key-usage',
    () => [forgeLeaf(issuing, { extensionPart: () => new Uint8Array() }), issuing],
  ],
  'an empty list of extensions': [
    'key-usage',
    () => [forgeLeaf(issuing, { extensionPart: () => derOf(contextTag(3)) }), issuing],
  ],
  'two lists of extensions': [
    'malformed',
    () => [
      forgeLeaf(issuing, { extensionPart: (list) => derOf(contextTag(3), list, list) }),
      issuing,
    ],
  ],
  'a default that is written out': [
    'malformed',
    () => {
      const plain = derOf(TAG.boolean, Uint8Array.of(0))
      const odd = sequence(oid('1.2.3.4'), plain, derOf(TAG.octetString, sequence()))
      return [changed({ odd }), issuing]
    },
  ],
  'CA:FALSE written out': [
    'malformed',
    () => {
      const value = sequence(derOf(TAG.boolean, Uint8Array.of(0)))
      return [changed({ bc: ext.raw(OID.basicConstraints, value, true) }), issuing]
    },
  ],
  'a path length without CA': [
    'malformed',
    () => {
      const value = sequence(derOf(TAG.integer, Uint8Array.of(0)))
      return [changed({ bc: ext.raw(OID.basicConstraints, value, true) }), issuing]
    },
  ],
  'an empty list of names': ['malformed', () => [changed({ san: ext.san([]) }), issuing]],
  'a name without a type': ['malformed', () => [named(TAG.utf8String), issuing]],
  'a URI name in constructed form': ['malformed', () => [named(contextTag(6)), issuing]],
  'a name of a type that is not': ['malformed', () => [named(contextTag(9, 'primitive')), issuing]],
  'a key usage that is no bit string': [
    'malformed',
    () => [changed({ ku: ext.raw(OID.keyUsage, sequence(), true) }), issuing],
  ],
  'a subject key identifier that is no string of bytes': [
    'malformed',
    () => [changed({ ski: ext.raw(OID.subjectKeyIdentifier, sequence(), false) }), issuing],
  ],
  'a certificate of more than 16 KiB': [
    'malformed',
    () => {
      const padding = derOf(TAG.octetString, new Uint8Array(16_384))
      return [changed({ padding: ext.raw('1.2.3.4', padding, false) }), issuing]
    },
  ],
  'an issuer of another name with the key and the key identifier of the right one': [
    'untrusted-issuer',
    () => [forgeLeaf(issuing, { issuerName: nameOf('elsewhere') }), issuing],
  ],
  'version 1': [
    'malformed',
    () => [
      forgeLeaf(issuing, { version: derOf(contextTag(0), derOf(TAG.integer, Uint8Array.of(0))) }),
      issuing,
    ],
  ],
}
for (const [what, [reason, chain]] of Object.entries(refused)) {
  test(`verifySvid() refuses ${what} (identity-standards §5.3)`, (t) => {
    t.like(verdict(chain()), { kind: 'refused', reason })
  })
}

test('verifySvid() refuses a leaf whose trust domain has no bundle, or an empty one', (t) => {
  const other = forgeRoot({ name: nameOf('other') })
  t.like(verdict([leaf, issuing], [bundleOf('other.example', other)]), {
    reason: 'unknown-trust-domain',
  })
  t.like(verdict([leaf, issuing], []), { reason: 'unknown-trust-domain' })
  t.like(verdict([leaf, issuing], [bundleOf('prod.example')]), { reason: 'untrusted-issuer' })
})

test('istio-semantics §1.9 leaves of an alias lead to our own roots, unless it has a bundle of its own', (t) => {
  const renamed = [
    { ...bundleOf('new.example', root), aliases: [parseTrustDomain('prod.example')] },
  ]
  const unnamed = forgeRoot({ extensions: { san: undefined } })
  const chain = [forgeLeaf(unnamed), unnamed]
  const aliases = [parseTrustDomain('prod.example')]
  const own = { ...bundleOf('new.example', unnamed), aliases }
  t.like(verdict(chain, [own]), { kind: 'ok', id: LEAF_ID })
  t.like(verdict(chain, [bundleOf('new.example', unnamed)]), { reason: 'unknown-trust-domain' })
  t.like(verdict(chain, [own, bundleOf('prod.example')]), { reason: 'untrusted-issuer' })
  // A root that names a trust domain vouches as that one alone.
  t.like(verdict([leaf, issuing], renamed), { kind: 'refused' })
})

test('verifySvid() does not let the root of one trust domain vouch for another', (t) => {
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const extensions = { san: undefined }
  const evil = forgeRoot({ key, name: nameOf('evil'), extensions })
  const chain = [forgeLeaf(evil), evil]
  const bundles = [bundle, bundleOf('evil.example', evil)]
  t.like(verdict(chain, bundles), { kind: 'refused', reason: 'untrusted-issuer' })
  t.like(
    verdict(chain, [bundleOf('prod.example', evil)]),
    { kind: 'ok' },
    'the chain itself is sound',
  )
})

test('verifySvid() refuses the root of the name that did not sign', (t) => {
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const twin = forgeRoot({ key, extensions: { ski: undefined } })
  const bundles = [bundleOf('prod.example', twin)]
  t.like(verdict([leaf, forgeIssuing(root, { extensions: { aki: undefined } })], bundles), {
    kind: 'refused',
    reason: 'bad-signature',
  })
})

test('verifySvid() passes over a root that cannot be read and finds the next', (t) => {
  const broken = { ...bundle, roots: [Uint8Array.of(0x30, 0x80), ...bundle.roots] }
  t.like(verdict([leaf, issuing], [broken]), { kind: 'ok' })
  t.like(verdict([leaf, issuing], [{ ...broken, roots: broken.roots.slice(0, 1) }]), {
    kind: 'refused',
  })
})

test('verifySvid() accepts either of two roots, and follows a cross-signed one (users §1.2.22)', (t) => {
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const next = forgeRoot({ key, name: nameOf('next root') })
  const underNext = forgeIssuing(next)
  const both = [bundleOf('prod.example', root, next)]
  t.like(verdict([leaf, issuing], both), { kind: 'ok' })
  t.like(verdict([forgeLeaf(underNext), underNext], both), { kind: 'ok' })

  const crossSigned = forgeIssuing(root, { key, name: nameOf('next root') })
  t.like(verdict([forgeLeaf(underNext), underNext, crossSigned]), { kind: 'ok' })
  t.like(verdict([forgeLeaf(underNext), underNext]), { reason: 'untrusted-issuer' })
})

test('verifySvid() remembers issuers, and judges their time and root anew each time', (t) => {
  const first = verdict([leaf, issuing])
  t.is(first.kind, 'ok')
  const copies = [leaf, issuing].map(({ der }) => Uint8Array.from(der))
  t.is(verifySvid(copies, [bundle], NOW, 'client').kind, 'ok')
  const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const sameName = bundleOf('prod.example', forgeRoot({ key: stranger }))
  t.like(verifySvid(copies, [sameName], NOW, 'client'), { reason: 'untrusted-issuer' })
  const short = forgeIssuing(root, { notAfter: NOW.add({ seconds: 1 }) })
  const underShort = forgeLeaf(short)
  const at = (seconds: number) =>
    verifySvid([underShort.der, short.der], [bundle], NOW.add({ seconds }), 'client')
  t.is(at(0).kind, 'ok')
  t.like(at(2), { reason: 'expired' })
})

test('verifySvid() goes on when there are more issuers than it remembers', (t) => {
  for (let count = 0; count < 70; count += 1) {
    const middle = forgeIssuing(root, { serial: Uint8Array.of(1, count) })
    t.is(verdict([forgeLeaf(middle), middle]).kind, 'ok')
  }
  t.is(verdict([leaf, issuing]).kind, 'ok')
})

test('verifySvid() checks a bounded number of signatures for a peer with many look-alike issuers', (t) => {
  // Seven issuers of one name and key: each could have issued each, which makes 13,699 paths.
  const name = nameOf('issuing')
  const first = forgeIssuing({ ...issuing, name }, { key: issuing.key, name })
  const likes = Array.from({ length: 7 }, (_, at) =>
    forgeIssuing(first, { key: issuing.key, name, serial: Uint8Array.of(9, at) }),
  )
  t.like(verdict([forgeLeaf(first), ...likes]), { kind: 'refused', reason: 'chain-too-long' })
})

test('verifySvid() refuses the base with any one byte of the leaf changed', (t) => {
  for (let at = 0; at < leaf.der.length; at += 1) {
    const mutated = Uint8Array.from(leaf.der)
    mutated[at]! ^= 1 + (at % 255)
    t.is(verifySvid([mutated, issuing.der], [bundle], NOW, 'client').kind, 'refused', `byte ${at}`)
  }
})

test('verifySvid() never throws on mutated chains, and accepts only the one that is not', (t) => {
  const bytes = fc.uint8Array({ maxLength: 64 })
  const mutation = fc.record({ at: fc.nat(leaf.der.length), cut: fc.nat(40), bytes })
  const property = fc.property(mutation, fc.boolean(), ({ at, cut, bytes: put }, inIssuer) => {
    const splice = (der: Uint8Array) =>
      Buffer.concat([der.subarray(0, at), put, der.subarray(at + cut)])
    const sound = [leaf.der, issuing.der]
    const chain = inIssuer ? [leaf.der, splice(issuing.der)] : [splice(leaf.der), issuing.der]
    const isSound = chain.every((der, index) => Buffer.compare(der, sound[index]!) === 0)
    return (verifySvid(chain, [bundle], NOW, 'server').kind === 'ok') === isSound
  })
  t.notThrows(() => fc.assert(property, { numRuns: 1500, seed: 7 }))
})

test('verifySvid() refuses what is on the deny-list: the serial, the name, or a key of the path', (t) => {
  const hex = (forged: Forged) => Buffer.from(forged.ski).toString('hex')
  const until = NOW.add({ minutes: 1 })
  const denying = (kind: DenyKind, value: string) => ({
    ...bundle,
    denies: compileDenyList({
      generation: 1,
      entries: [{ kind, value, until, generation: 1, lifted: false }],
    }),
  })
  const judge = (kind: DenyKind, value: string, at = NOW) =>
    verifySvid([leaf.der, issuing.der], [denying(kind, value)], at, 'client')
  for (const [kind, value] of [
    ['serial', '1234'],
    ['spiffe-id', LEAF_ID],
    ['key-id', hex(leaf)],
    ['key-id', hex(issuing)],
    ['key-id', hex(root)],
  ] as const) {
    t.like(judge(kind, value), { kind: 'refused', reason: 'denied' }, `${kind} ${value}`)
    t.is(judge(kind, value, until).kind, 'ok', 'until its end')
  }
  t.is(judge('serial', '1235').kind, 'ok')
  const answer = verdict([leaf, issuing])
  t.deepEqual(answer.kind === 'ok' && answer.keyIds, [leaf, issuing, root].map(hex))
})

test('verifySvid() finds the path on which no key is denied, if there is one', (t) => {
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const next = forgeRoot({ key, name: nameOf('next root') })
  const underNext = forgeIssuing(next)
  const crossSigned = forgeIssuing(root, { key, name: nameOf('next root') })
  const value = Buffer.from(root.ski).toString('hex')
  const until = NOW.add({ minutes: 1 })
  const denies = compileDenyList({
    generation: 1,
    entries: [{ kind: 'key-id', value, until, generation: 1, lifted: false }],
  })
  const chain = [forgeLeaf(underNext), underNext, crossSigned]
  t.is(verdict(chain, [{ ...bundleOf('prod.example', root, next), denies }]).kind, 'ok')
  t.like(verdict(chain, [{ ...bundle, denies }]), { reason: 'denied' })
})
