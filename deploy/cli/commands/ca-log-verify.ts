import { createPublicKey, type KeyObject } from 'node:crypto'

import type { AuditReport } from '#ca/index.ts'
import { MAX_INPUT_BYTES, readCertificates } from '#ca/inspect/index.ts'
import {
  type ConsistencyProof,
  consistencyFault,
  type InclusionProof,
  inclusionFault,
  readProof,
  type SignedHead,
} from '#ca/log/index.ts'
import { DeployError } from '../../error.ts'
import {
  LOG_KEY_OPTION,
  LOG_OPTIONS,
  openCaLog,
  type OpenCaLog,
  readHeadFile,
  readLogKey,
} from '../ca-log.ts'
import { type Command, type ExitCode, type Input, type Io, textOption } from '../command.ts'
import { OUTPUT_OPTION, outputFormat, paint, print } from '../output.ts'
import { readNamed } from '../read-bytes.ts'
import { readText } from '../read-text.ts'

/** `redoubt ca log verify`: 0 it holds, 1 it does not, 2 it could not be told. */
export const caLogVerify: Command = {
  name: 'ca log verify',
  summary: 'hold the ledger against its log, or check a proof offline',
  arguments: [
    { name: 'PROOF', summary: 'a document of ca log prove; without it, the whole ledger' },
  ],
  options: [
    { flags: '--of <file>', summary: 'the certificate that PROOF is of' },
    { flags: '--since <file>', summary: 'a head that was kept: the log must have grown from it' },
    LOG_KEY_OPTION,
    ...LOG_OPTIONS,
    OUTPUT_OPTION,
  ],
  examples: [
    {
      what: 'See whether any row was deleted or changed, and nothing taken back since a head was kept',
      command: 'redoubt ca log verify --since head.json',
    },
    {
      what: 'Check a proof with no CA at hand',
      command: 'redoubt ca log verify cert.proof.json --of cert.pem --log-key log-key.pem',
    },
  ],
  async run(io, input, signal) {
    const [proof] = input.arguments
    return proof === undefined
      ? verifyLedger(io, input, signal)
      : verifyProof(io, input, proof, signal)
  },
}

async function verifyLedger(io: Io, input: Input, signal: AbortSignal): Promise<ExitCode> {
  if (textOption(input, 'of') !== undefined) {
    throw usage('Cannot verify a certificate: expected PROOF, the document of ca log prove')
  }
  using log = await openCaLog(io, input, signal)
  const key = await keyOf(io, input, log.publicKeyPem)
  const report = await log.audit()
  const since = textOption(input, 'since')
  const growth = since === undefined ? undefined : await readHeadFile(io, since)
  const fault = growth && (await growthFault(log, report, growth, key))
  const value = {
    ...report,
    ok: report.ok && fault === undefined,
    ...(growth && { since: { size: growth.size, error: fault ?? null } }),
  }
  print(io, outputFormat(input), value, () => [
    ...auditLines(io, report),
    ...(growth
      ? [verdict(io, fault, `it has only grown since it had ${growth.size} entries`)]
      : []),
  ])
  return value.ok ? 0 : 1
}

/** Why the log does not follow on a head that was kept: of its own, or of one that it succeeds. */
async function growthFault(
  log: OpenCaLog,
  { head, successions }: AuditReport,
  kept: SignedHead,
  key: KeyObject,
): Promise<string | undefined> {
  const left = successions.find(({ last }) => last.keyId === kept.keyId)
  const size = left?.last.size ?? head?.size ?? 0
  if (kept.size > size) {
    return left
      ? `the CA was restored from a backup of ${size} entries: those from ${size} to ${kept.size - 1} are lost`
      : `the log had ${kept.size} entries then, and has ${size} now`
  }
  const earlierKey = left ? createPublicKey(left.lastKey) : key
  return consistencyFault(await log.proveSince(kept.size), kept, key, earlierKey)
}

async function verifyProof(
  io: Io,
  input: Input,
  file: string,
  signal: AbortSignal,
): Promise<ExitCode> {
  const proof = readProof(await readText(io, file))
  const key = await keyOf(io, input, () => openKey(io, input, signal))
  const error =
    proof.kind === 'inclusion'
      ? inclusionFault(proof, await certificateOf(io, input), key)
      : consistencyFault(proof, await earlierOf(io, input), key)
  const { kind, head } = proof
  print(
    io,
    outputFormat(input),
    { ok: error === undefined, kind, head, error: error ?? null },
    () => [verdict(io, error, wordsOf(proof))],
  )
  return error === undefined ? 0 : 1
}

function wordsOf(proof: InclusionProof | ConsistencyProof): string {
  const { log, size, time } = proof.head
  const tree = `the log of ${log} as signed at ${time} (${size} entries)`
  return proof.kind === 'inclusion'
    ? `the certificate is entry ${proof.index} of ${tree}`
    : `${tree} begins with all of its first ${proof.first}`
}

async function keyOf(
  io: Io,
  input: Input,
  here: string | (() => Promise<string>),
): Promise<KeyObject> {
  const file = textOption(input, 'logKey')
  if (file !== undefined) return readLogKey(io, file)
  return createPublicKey(typeof here === 'string' ? here : await here())
}

async function openKey(io: Io, input: Input, signal: AbortSignal): Promise<string> {
  using log = await openCaLog(io, input, signal)
  return log.publicKeyPem
}

async function certificateOf(io: Io, input: Input): Promise<Uint8Array> {
  const file = textOption(input, 'of')
  if (file === undefined) throw usage('Cannot check the proof of a certificate: expected --of FILE')
  const [der] = readCertificates(await readNamed(file, io.cwd, MAX_INPUT_BYTES))
  if (der) return der
  throw usage(`Cannot check the proof of a certificate: there is none in ${file}`)
}

async function earlierOf(io: Io, input: Input) {
  const file = textOption(input, 'since')
  if (file === undefined) {
    throw usage('Cannot check a proof of growth: expected --since FILE, the head that was kept')
  }
  return readHeadFile(io, file)
}

function auditLines(
  io: Io,
  { head, faults, faultCount, ...counts }: AuditReport,
): readonly string[] {
  const { certificates, calls, pruned } = counts
  const told = faults.map(({ index, serial, what, message }) => {
    const place = index === undefined ? '' : `entry ${index}${serial ? ` (${serial})` : ''}: `
    return `  ${what.padEnd(8)} ${place}${message}`
  })
  const fault = faultCount === 0 ? undefined : counted(faultCount, 'fault')
  return [
    verdict(
      io,
      fault,
      `the ledger is the log: ${counted(certificates, 'certificate')} and ${counted(calls, 'call')}${pruned > 0 ? `, ${pruned} pruned` : ''}, under the head of ${head?.time}`,
    ),
    ...told,
    ...counts.successions.map(
      ({ last }) =>
        `  restored from a backup of ${last.size} entries, of ${last.time}; before, its key was ${last.keyId.slice(0, 16)}`,
    ),
    ...(faultCount > told.length ? [`  and ${faultCount - told.length} more`] : []),
  ]
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}

function verdict(io: Io, fault: string | undefined, good: string): string {
  return fault === undefined ? paint(io, 'green', `✔ ${good}`) : paint(io, 'red', `✘ ${fault}`)
}

function usage(message: string): DeployError {
  return new DeployError('DEPLOY_USAGE', message)
}
