/** What we issue, judged by the linters of others: zlint and pkilint. Neither may have a word to say. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import type { ExecutionContext } from 'ava'

import { pemFromDer } from '#ca/x509/index.ts'
import { fetchChain } from '#deploy/cli/fetch-chain.ts'
import { attestedClient, newCsr, startCa, svidOf, temporaryDir, workloadId } from '../ca/harness.ts'
import { outputOf, testWith } from './harness.ts'

/** The kinds of key that a leaf may have. */
const KEYS: Readonly<Record<string, () => KeyObject>> = {
  'leaf of P-256': () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
  'leaf of P-384': () => generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
  'leaf of RSA-2048': () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
  'leaf of RSA-4096': () => generateKeyPairSync('rsa', { modulusLength: 4096 }).privateKey,
  'leaf of Ed25519': () => generateKeyPairSync('ed25519').privateKey,
}

interface Issued extends AsyncDisposable {
  /** Path of a PEM file by what it is. */
  readonly files: Readonly<Record<string, string>>
}

/** Everything that a CA signs, in files. */
async function issueEach(): Promise<Issued> {
  await using owned = new AsyncDisposableStack()
  const dir = owned.use(await temporaryDir())
  const { ca } = owned.use(await startCa({ serverNames: ['istiod.istio-system.svc'] }))
  const { client, svid: agent } = owned.use(await attestedClient(ca))
  const files: Record<string, string> = {}
  const keep = (what: string, der: Uint8Array | undefined): void => {
    files[what] = join(dir.path, `${what.replaceAll(' ', '-')}.pem`)
    writeFileSync(files[what], pemFromDer('CERTIFICATE', der ?? new Uint8Array()))
  }
  for (const [what, makeKey] of Object.entries(KEYS)) {
    const csr = newCsr(makeKey())
    keep(what, svidOf(await client.issue({ spiffeId: workloadId, csr })).chain[0])
  }
  keep('agent', agent.chain[0])
  keep('CA server', await serverOf(ca.address))
  keep('issuing CA', agent.chain[1])
  keep('root', ca.bundle.current.roots[0])
  const rest = owned.move()
  return { files, [Symbol.asyncDispose]: () => rest.disposeAsync() }
}

/** The certificate that a CA shows, DNS names and all. */
async function serverOf(address: string): Promise<Uint8Array | undefined> {
  const [host = '', port] = address.split(':')
  const at = { host, port: Number(port), alpn: ['h2'] }
  const shown = await fetchChain(at, AbortSignal.timeout(10_000))
  return shown.kind === 'failed' ? undefined : shown.chain[0]
}

/** Requirements for certificates of every public key infrastructure; the others are of the public web's. */
const SOURCES = 'RFC5280,RFC5480,RFC8813,Community'

testWith('REDOUBT_ZLINT', 'zlint finds nothing in what we issue', async (t, zlint) => {
  await using issued = await issueEach()
  for (const [what, file] of Object.entries(issued.files)) {
    const text = await outputOf(zlint, ['-includeSources', SOURCES, file])
    const lints = Object.entries(JSON.parse(text) as Record<string, { result: string }>)
    t.true(lints.length > 100, `${what}: ${lints.length} lints ran`)
    const said = lints.filter(([, { result }]) => !['pass', 'NA', 'NE'].includes(result))
    t.deepEqual(said, [], what)
  }
})

/** It refuses every URI whose scheme it does not know, and it does not know `spiffe`. */
const WAIVED = 'pkix.invalid_uri_syntax'

interface PkilintResult {
  readonly node_path: string
  readonly finding_descriptions: readonly { readonly code: string }[]
}

/** Codes of what pkilint has to remark, which is more than to tell, but the one that is waived. */
async function pkilint(python: string, tool: string, files: readonly string[]) {
  const program = join(python, '..', tool)
  // It ends with the number of its findings, which is at least the one that is waived.
  const text = await outputOf(program, ['lint', '-s', 'NOTICE', '-f', 'JSON', ...files], 'any')
  const { results } = JSON.parse(text) as { results: readonly PkilintResult[] }
  const codes = results.flatMap(({ finding_descriptions }) =>
    finding_descriptions.map(({ code }) => code),
  )
  return { said: codes.filter((code) => code !== WAIVED), waived: codes.includes(WAIVED) }
}

testWith('REDOUBT_PKILINT', 'pkilint finds nothing but the scheme spiffe', async (t, python) => {
  await using issued = await issueEach()
  for (const [what, file] of Object.entries(issued.files)) {
    const { said, waived } = await pkilint(python, 'lint_pkix_cert', [file])
    t.deepEqual(said, [], what)
    t.true(waived, `${what}: it has read the SPIFFE ID`)
  }
})

testWith(
  'REDOUBT_PKILINT',
  'pkilint finds each issuer fit for what it signed',
  async (t, python) => {
    await using issued = await issueEach()
    const { root = '', 'issuing CA': issuing = '', ...leaves } = issued.files
    await fits(t, python, root, issuing)
    for (const leaf of Object.values(leaves)) await fits(t, python, issuing, leaf)
  },
)

async function fits(t: ExecutionContext, python: string, issuer: string, subject: string) {
  const tool = 'lint_pkix_signer_signee_cert_chain'
  t.deepEqual((await pkilint(python, tool, [issuer, subject])).said, [], subject)
}
