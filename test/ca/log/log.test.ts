/** The Merkle tree and its proofs against RFC 9162, its known answers, and a plain reading of the RFC. */
import { createHash, createPublicKey, generateKeyPairSync } from 'node:crypto'

import test from 'ava'
import fc from 'fast-check'

import { type ConsistencyProof, consistencyFault, inclusionFault } from '#ca/log/document.ts'
import {
  type CallEntry,
  type CertificateEntry,
  callText,
  certificateLeaf,
  certificateText,
} from '#ca/log/entry.ts'
import { headSigner, isSignedHead, type SignedHead } from '#ca/log/head.ts'
import { consistencyPath, inclusionPath, type ReadHashes, readFrontier } from '#ca/log/proof.ts'
import { readHead, readProof } from '#ca/log/read-document.ts'
import { EMPTY_TREE, grow, KEPT_LEVELS, leafHash, rootOf } from '#ca/log/tree.ts'
import { isConsistent, isIncluded } from '#ca/log/verify.ts'

const sha256 = (...parts: readonly Uint8Array[]): Buffer =>
  createHash('sha256').update(Buffer.concat(parts)).digest()
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** RFC 9162 §2.1.1 as it is written: nothing shared with what is tested. */
function plainRoot(data: readonly Uint8Array[]): Buffer {
  if (data.length === 0) return sha256()
  if (data.length === 1) return sha256(Uint8Array.of(0), data[0]!)
  const k = plainSplit(data.length)
  return sha256(Uint8Array.of(1), plainRoot(data.slice(0, k)), plainRoot(data.slice(k)))
}

function plainSplit(n: number): number {
  let k = 1
  while (k << 1 < n) k <<= 1
  return k
}

/** §2.1.3.1 */
function plainPath(m: number, data: readonly Uint8Array[]): readonly Buffer[] {
  if (data.length === 1) return []
  const k = plainSplit(data.length)
  return m < k
    ? [...plainPath(m, data.slice(0, k)), plainRoot(data.slice(k))]
    : [...plainPath(m - k, data.slice(k)), plainRoot(data.slice(0, k))]
}

/** §2.1.4.1 */
function plainProof(m: number, data: readonly Uint8Array[]): readonly Buffer[] {
  const sub = (m: number, data: readonly Uint8Array[], b: boolean): readonly Buffer[] => {
    if (m === data.length) return b ? [] : [plainRoot(data)]
    const k = plainSplit(data.length)
    return m <= k
      ? [...sub(m, data.slice(0, k), b), plainRoot(data.slice(k))]
      : [...sub(m - k, data.slice(k), false), plainRoot(data.slice(0, k))]
  }
  return sub(m, data, true)
}

const bytesOf = (count: number): Buffer[] =>
  Array.from({ length: count }, (_, at) => Buffer.from(`leaf ${at}`))

/** Hashes kept as the ledger keeps them: leaves, and every eighth level as the tree grows by commits. */
function keep(data: readonly Uint8Array[], commit: number): ReadHashes {
  const leaves = data.map(leafHash)
  const nodes = new Map<string, Uint8Array>()
  let tree = EMPTY_TREE
  for (let at = 0; at < leaves.length; at += commit) {
    const growth = grow(tree, leaves.slice(at, at + commit))
    for (const { level, index, hash } of growth.kept) nodes.set(`${level}/${index}`, hash)
    tree = growth.tree
  }
  return async (level, from, to) => {
    if (level % KEPT_LEVELS !== 0) throw new Error(`asked for level ${level}`)
    if (to - from > 256) throw new Error(`asked for ${to - from} hashes`)
    return Array.from({ length: to - from }, (_, at) => {
      const hash = level === 0 ? leaves[from + at] : nodes.get(`${level}/${from + at}`)
      if (!hash) throw new Error(`there is no hash ${level}/${from + at}`)
      return hash
    })
  }
}

test('RFC 9162 §2.1.1: roots are those that Certificate Transparency has published for its eight leaves', (t) => {
  const inputs = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657']
  inputs.push('606162636465666768696a6b6c6d6e6f')
  const roots = [
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
    'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
    'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
    '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
    'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
    '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
  ]
  const leaves = inputs.map((input) => leafHash(Buffer.from(input, 'hex')))
  for (const [size, root] of roots.entries()) {
    t.is(hex(rootOf(grow(EMPTY_TREE, leaves.slice(0, size)).tree)), root, `${size} leaves`)
  }
})

test('RFC 9162 §2.1.3: every leaf of every tree up to 40 has the path that the RFC gives, and it verifies', async (t) => {
  for (let size = 1; size <= 40; size += 1) {
    const data = bytesOf(size)
    const root = plainRoot(data)
    const read = keep(data, 1 + (size % 5))
    t.is(hex(rootOf(await readFrontier(read, size))), hex(root))
    for (let index = 0; index < size; index += 1) {
      const path = await inclusionPath(read, index, size)
      t.deepEqual(path.map(hex), plainPath(index, data).map(hex), `${index} of ${size}`)
      const leaf = leafHash(data[index]!)
      t.true(isIncluded(leaf, { index, size }, path, root))
      t.false(isIncluded(leaf, { index: index + 1, size }, path, root))
      t.false(isIncluded(leafHash(Buffer.from('other')), { index, size }, path, root))
      t.false(isIncluded(leaf, { index, size }, [...path, root], root))
      if (path.length > 0) t.false(isIncluded(leaf, { index, size }, path.slice(1), root))
    }
  }
})

test('RFC 9162 §2.1.4: every pair of sizes up to 40 has the proof that the RFC gives, and it verifies', async (t) => {
  const all = bytesOf(40)
  const read = keep(all, 3)
  const roots = Array.from({ length: 71 }, (_, size) => plainRoot(all.slice(0, size)))
  for (let second = 1; second <= 40; second += 1) {
    for (let first = 1; first <= second; first += 1) {
      const path = await consistencyPath(read, first, second)
      const data = all.slice(0, second)
      t.deepEqual(path.map(hex), plainProof(first, data).map(hex), `${first} to ${second}`)
      const [old, now] = [first, second].map((size) => ({ size, root: roots[size]! }))
      t.true(isConsistent(old!, now!, path))
      const other = { ...old!, root: sha256(old!.root) }
      t.false(isConsistent(other, now!, path), 'another beginning')
      t.false(isConsistent(old!, { ...now!, root: other.root }, path), 'another end')
      t.false(isConsistent(old!, now!, [...path, old!.root]), 'one hash more')
      if (first < second) t.false(isConsistent(old!, now!, path.slice(1)), 'one hash less')
      if (first < second) t.false(isConsistent(now!, old!, path), 'backwards')
    }
  }
})

test('trees above 65,536 leaves are proved from kept hashes of two levels', async (t) => {
  const size = 70_001
  const data = bytesOf(size)
  const read = keep(data, 1000)
  const root = rootOf(await readFrontier(read, size))
  t.is(hex(root), hex(plainRoot(data)))
  for (const index of [0, 255, 256, 65_535, 65_536, 70_000]) {
    const path = await inclusionPath(read, index, size)
    t.true(isIncluded(leafHash(data[index]!), { index, size }, path, root))
  }
  for (const first of [1, 256, 65_535, 65_536, 65_537, 70_000]) {
    const old = { size: first, root: plainRoot(data.slice(0, first)) }
    t.true(isConsistent(old, { size, root }, await consistencyPath(read, first, size)))
  }
})

test('a tree is the same however its leaves were grouped into commits', (t) => {
  const leaves = bytesOf(600).map(leafHash)
  const whole = grow(EMPTY_TREE, leaves)
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 40 }), (commits) => {
      let tree = EMPTY_TREE
      for (const count of commits) {
        tree = grow(tree, leaves.slice(tree.size, tree.size + count)).tree
      }
      tree = grow(tree, leaves.slice(tree.size)).tree
      return hex(rootOf(tree)) === hex(rootOf(whole.tree)) && EMPTY_TREE.size === 0
    }),
  )
  t.is(hex(rootOf(whole.tree)), hex(plainRoot(bytesOf(600))))
})

test('no change of a path, a size or a root is ever believed', async (t) => {
  const data = bytesOf(37)
  const read = keep(data, 37)
  const root = plainRoot(data)
  const path = await inclusionPath(read, 20, 37)
  const growth = await consistencyPath(read, 20, 37)
  const first = { size: 20, root: plainRoot(data.slice(0, 20)) }
  fc.assert(
    fc.property(
      fc.nat(5),
      fc.nat(31),
      fc.integer({ min: 1, max: 255 }),
      fc.integer({ min: -3, max: 90 }),
      (place, byte, bits, size) => {
        const bent = (hashes: readonly Uint8Array[]): readonly Uint8Array[] =>
          hashes.map((hash, at) => {
            const copy = Uint8Array.from(hash)
            if (at === place % hashes.length) copy[byte]! ^= bits
            return copy
          })
        const leaf = leafHash(data[20]!)
        return (
          !isIncluded(leaf, { index: 20, size: 37 }, bent(path), root) &&
          !isConsistent(first, { size: 37, root }, bent(growth)) &&
          (size === 20 || !isConsistent({ ...first, size }, { size: 37, root }, growth))
        )
      },
    ),
    { numRuns: 500 },
  )
  for (const size of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60]) {
    t.false(isIncluded(leafHash(data[0]!), { index: 0, size }, path, root))
    t.false(isIncluded(leafHash(data[0]!), { index: size, size: 37 }, path, root))
    t.false(isConsistent({ size, root }, { size: 37, root }, growth))
  }
})

const entry: CertificateEntry = {
  serial: '0a',
  kind: 'leaf',
  subject: 'spiffe://td/ns/a/sa/b',
  issuer_serial: '02',
  issued_at: 3,
  not_before: 1,
  not_after: 9,
  requested_by: 'spiffe://td/ns/x/sa/y',
}
const call: CallEntry = { at: 1, caller: 'uid:0', action: 'issue', detail: '{}', outcome: 'done' }

test('every field of an entry is in its leaf, and none can run into the next', (t) => {
  const text = certificateText(entry, 'ff')
  for (const name of Object.keys(entry) as (keyof CertificateEntry)[]) {
    const value = typeof entry[name] === 'number' ? 77 : 'other'
    t.not(certificateText({ ...entry, [name]: value }, 'ff'), text, name)
  }
  t.not(certificateText(entry, 'fe'), text)
  for (const name of Object.keys(call) as (keyof CallEntry)[]) {
    const value = typeof call[name] === 'number' ? 77 : 'other'
    t.not(callText({ ...call, [name]: value }), callText(call), name)
  }
  t.not(
    callText({ ...call, caller: 'a","b', action: 'c' }),
    callText({ ...call, caller: 'a', action: 'b","c' }),
  )
})

const { privateKey } = generateKeyPairSync('ed25519')
const time = Temporal.Instant.from('2026-06-01T12:00:00Z')
const signer = headSigner(privateKey, 'prod.example')

/** A log of 20 entries, of which the eighth is a certificate, at its last size and at an earlier one. */
async function documents() {
  const der = Buffer.from('a certificate')
  const leaves = Array.from({ length: 20 }, (_, at) =>
    at === 7 ? certificateLeaf(entry, der) : leafHash(Buffer.from(`${at}`)),
  )
  const read: ReadHashes = async (_, from, to) => leaves.slice(from, to)
  const headAt = (size: number): SignedHead =>
    signer.sign({ size, root: rootOf(grow(EMPTY_TREE, leaves.slice(0, size)).tree), time })
  const [earlier, head] = [headAt(11), headAt(20)]
  const inclusion = {
    kind: 'inclusion' as const,
    head,
    index: 7,
    entry,
    path: (await inclusionPath(read, 7, 20)).map(hex),
  }
  const growth = (await consistencyPath(read, 11, 20)).map(hex)
  const consistency: ConsistencyProof = { kind: 'consistency', first: 11, head, path: growth }
  return { der, earlier, inclusion, consistency }
}

test('a proof of a certificate holds offline by the public key alone, and no part of it can be another', async (t) => {
  const { der, inclusion } = await documents()
  const { publicKey } = signer
  const proof = readProof(JSON.stringify(inclusion))
  if (proof.kind !== 'inclusion') throw new Error('it is of another kind')
  t.is(inclusionFault(proof, der, publicKey), undefined)
  const path = 'the path does not lead from this certificate to the signed root'
  const head = "the head is not signed by this log's key"
  const { publicKey: other } = generateKeyPairSync('ed25519')
  t.is(inclusionFault(proof, der, other), head)
  t.is(inclusionFault(proof, der, generateKeyPairSync('x25519').publicKey), head)
  t.is(inclusionFault(proof, Buffer.from('another'), publicKey), path)
  t.is(inclusionFault({ ...proof, index: 6 }, der, publicKey), path)
  for (const [name, value] of Object.entries(entry)) {
    const bent = { ...entry, [name]: typeof value === 'number' ? value + 1 : `${value}0` }
    t.is(inclusionFault({ ...proof, entry: bent }, der, publicKey), path, name)
  }
  for (const bent of [{ size: 21 }, { root: hex(sha256()) }, { time: '2027-01-01T00:00:00Z' }]) {
    t.is(inclusionFault({ ...proof, head: { ...proof.head, ...bent } }, der, publicKey), head)
  }
  t.is(inclusionFault({ ...proof, head: { ...proof.head, log: 'x' } }, der, publicKey), head)
})

test('a proof of growth holds between two heads of one log, and between no others', async (t) => {
  const { earlier, consistency } = await documents()
  const { publicKey } = signer
  const proof = readProof(JSON.stringify(consistency))
  if (proof.kind !== 'consistency') throw new Error('it is of another kind')
  const kept = readHead(JSON.stringify(earlier))
  t.is(consistencyFault(proof, kept, publicKey), undefined)
  t.regex(consistencyFault({ ...proof, first: 10 }, kept, publicKey) ?? '', /begins at 10/)
  t.regex(consistencyFault(proof, { ...kept, size: 12 }, publicKey) ?? '', /earlier head/)
  const fork = signer.sign({ size: 11, root: sha256(), time })
  t.regex(consistencyFault(proof, fork, publicKey) ?? '', /^what was in the log then is not/)
  const elsewhere = headSigner(privateKey, 'other.example').sign({ size: 11, root: sha256(), time })
  t.regex(consistencyFault(proof, elsewhere, publicKey) ?? '', /of the log of prod.example/)
  t.true(isSignedHead(kept, createPublicKey(privateKey)))
})

for (const [name, text] of [
  ['no JSON', '{'],
  ['no object', '[]'],
  ['a list', 'null'],
  ['no kind', '{"head":{}}'],
] as const) {
  test(`readProof() and readHead() refuse ${name} in one line`, (t) => {
    t.throws(() => readProof(text), { code: 'CA_LOG_INVALID', message: /^Cannot read a proof: / })
    t.throws(() => readHead(text), {
      code: 'CA_LOG_INVALID',
      message: /^Cannot read a tree head: /,
    })
  })
}

test('readProof() refuses each member that is missing, of another type or out of bounds', async (t) => {
  const { inclusion, consistency } = await documents()
  for (const proof of [inclusion, consistency]) {
    for (const name of Object.keys(proof)) {
      for (const value of [undefined, {}, Array.from({ length: 200 }, () => '00'), ['xx']]) {
        const text = JSON.stringify({ ...proof, [name]: value })
        t.throws(() => readProof(text), { code: 'CA_LOG_INVALID' }, name)
      }
    }
  }
})
