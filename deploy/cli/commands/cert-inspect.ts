/** `redoubt cert inspect`: what a certificate says, whether it holds, and what to do if not. */
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'

import {
  type Anchors,
  type CertificateReport,
  type ChainReport,
  describeCertificate,
  judgeChain,
  MAX_INPUT_BYTES,
  readCertificates,
  renderInspection,
} from '#ca/inspect/index.ts'
import { parseTrustDomain, trustDomainOf, parseSpiffeId } from '#ca/spiffe/index.ts'
import { pemFromDer } from '#ca/x509/index.ts'
import { type Command, type Input, type Io, textOption } from '../command.ts'
import { stateDirOf } from '../../standalone/state-dir.ts'
import { findCertificates, type Found } from '../find-certificates.ts'
import { OUTPUT_OPTION, outputFormat, paint, print } from '../output.ts'
import { LOG_KEY_OPTION } from '../ca-log.ts'
import { logReports } from '../log-reports.ts'
import { readBytes } from '../read-bytes.ts'
import { readRunningMesh, type RunningMesh } from '../running-mesh.ts'
import { STATE_OPTION } from '../state-option.ts'

export const certInspect: Command = {
  name: 'cert inspect',
  summary: 'show and judge certificates: of a file, an endpoint, a running workload, an agent',
  arguments: [{ name: 'FILE|-|HOST:PORT', summary: 'PEM, DER, a SPIFFE bundle; or a TLS server' }],
  options: [
    { flags: '-w, --workload <ns/name>', summary: 'what the sidecar of a running workload serves' },
    {
      flags: '--agent <socket>',
      summary: 'what an agent gives this process (SPIFFE Workload API)',
    },
    {
      flags: '--bundle <file>',
      summary: 'roots to verify with (default: those of the running mesh)',
    },
    { flags: '--sni <name>', summary: 'server name to ask an endpoint for' },
    { flags: '--alpn <protocol>', summary: 'protocol to offer an endpoint', repeat: true },
    { flags: '--client-cert <file>', summary: 'PEM to present to an endpoint' },
    { flags: '--client-key <file>', summary: 'its private key' },
    { flags: '--timeout <seconds>', summary: 'how long to wait for an answer', default: '5' },
    { flags: '--log-proof <file>', summary: 'proof of ca log prove to check with --log-key' },
    LOG_KEY_OPTION,
    STATE_OPTION,
    { ...OUTPUT_OPTION, choices: ['text', 'json', 'yaml', 'pem'] },
  ],
  examples: [
    {
      what: 'Show the certificate that a running sidecar serves, verified up to the root',
      command: 'redoubt cert inspect --workload qotm/qotm-v1',
    },
    {
      what: 'Fail a script when a certificate is not an SVID that holds',
      command: 'redoubt cert inspect cert.pem --bundle bundle.pem --output json',
    },
  ],
  async run(io, input, signal) {
    const now = io.now()
    const mesh = await readRunningMesh(stateDirOf(textOption(input, 'state'), io.env, io.cwd))
    const found = await findCertificates(io, input, mesh, signal)
    const described = found.chain.map((der) => describeCertificate(der, now))
    const logged = await logReports(io, input, found.chain, described, signal)
    const certificates = described.map((one, at) => {
      const log = logged[at]
      return log ? { ...one, log } : one
    })
    const anchors = await anchorsFor(io, input, found, certificates, mesh)
    const chain = expected(found, certificates, judgeChain(found.chain, certificates, anchors, now))
    show(io, input, found, certificates, chain)
    const isBad = certificates.some(({ findings }) => findings.some(isError))
    const isUnlogged = logged.some((log) => log?.verified === false)
    return isBad || isUnlogged || chain.verified === false ? 1 : 0
  },
}

function isError({ severity }: { readonly severity: string }): boolean {
  return severity === 'error'
}

/** Roots given, or those that came along, or the running mesh's for identities of its own. */
async function anchorsFor(
  io: Io,
  input: Input,
  found: Found,
  certificates: readonly CertificateReport[],
  mesh: RunningMesh | undefined,
): Promise<Anchors | undefined> {
  const given = textOption(input, 'bundle')
  if (given !== undefined) {
    return { roots: readCertificates(await readBytes(given, io.cwd, MAX_INPUT_BYTES)) }
  }
  if (found.anchors) return found.anchors
  const id = certificates.find(({ spiffeId }) => spiffeId !== null)?.spiffeId
  if (!mesh || !id || trustDomainOf(parseSpiffeId(id)) !== mesh.trustDomain) return undefined
  const pem = await readFile(resolve(mesh.ca.bundle))
  return { trustDomain: parseTrustDomain(mesh.trustDomain), roots: readCertificates(pem) }
}

/** A good certificate of somebody else is as bad as none. */
function expected(
  { expectedId }: Found,
  certificates: readonly CertificateReport[],
  chain: ChainReport,
): ChainReport {
  const id = certificates.find(({ ca }) => !ca)?.spiffeId ?? null
  if (expectedId === undefined || id === expectedId || chain.verified === false) return chain
  return { ...chain, verified: false, error: `wrong-identity: it is ${id}, expected ${expectedId}` }
}

function show(
  io: Io,
  input: Input,
  found: Found,
  certificates: readonly CertificateReport[],
  chain: ChainReport,
): void {
  if (textOption(input, 'output') === 'pem') {
    io.out(pemFromDer('CERTIFICATE', found.chain).trimEnd())
    return
  }
  const { origin } = found
  const value = {
    certificates,
    chain,
    ...(origin.length > 0 && { origin: Object.fromEntries(origin) }),
  }
  print(io, outputFormat(input), value, () =>
    renderInspection(certificates, chain, origin, styleOf(io)),
  )
}

function styleOf(io: Io): Parameters<typeof renderInspection>[3] {
  return {
    bold: (text) => paint(io, 'bold', text),
    dim: (text) => paint(io, 'dim', text),
    good: (text) => paint(io, 'green', text),
    warn: (text) => paint(io, 'yellow', text),
    bad: (text) => paint(io, 'red', text),
  }
}
