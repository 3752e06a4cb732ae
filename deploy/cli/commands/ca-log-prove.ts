import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'

import { describeCertificate, MAX_INPUT_BYTES, readCertificates } from '#ca/inspect/index.ts'
import { type ConsistencyProof, type InclusionProof, LIFE_WORDS } from '#ca/log/index.ts'
import { DeployError } from '../../error.ts'
import { LOG_OPTIONS, openCaLog, type OpenCaLog, readHeadFile } from '../ca-log.ts'
import { type Command, type Io, textOption } from '../command.ts'
import { OUTPUT_OPTION, outputFormat, print } from '../output.ts'
import { readBytes } from '../read-bytes.ts'
import { headLines } from './ca-log-head.ts'

/** `redoubt ca log prove`: a document that needs nobody to be believed but the log's public key. */
export const caLogProve: Command = {
  name: 'ca log prove',
  summary: 'prove that a certificate is in the log, or that the log has only grown since a head',
  arguments: [{ name: 'SERIAL|FILE', summary: 'the certificate; with --since, none' }],
  options: [
    { flags: '--since <file>', summary: 'a head that was kept: prove that the log follows on it' },
    ...LOG_OPTIONS,
    { ...OUTPUT_OPTION, default: 'json' },
  ],
  examples: [
    {
      what: 'Hand out the proof of a certificate along with it',
      command: 'redoubt ca log prove cert.pem > cert.proof.json',
    },
    {
      what: 'Prove that nothing has been taken out since a head was kept',
      command: 'redoubt ca log prove --since head.json > growth.json',
    },
  ],
  async run(io, input, signal) {
    const [place] = input.arguments
    const since = textOption(input, 'since')
    if ((place === undefined) === (since === undefined)) {
      throw new DeployError(
        'DEPLOY_USAGE',
        'Cannot prove anything: expected either SERIAL, FILE or --since FILE',
      )
    }
    const serial = place === undefined ? undefined : await serialOf(io, place)
    using log = await openCaLog(io, input, signal)
    const proof = await prove(io, log, serial, since)
    if (!proof) {
      io.err(
        `redoubt: the ledger has no certificate with the serial ${serial}: it was not issued here, or its row was pruned; a proof from before that holds on`,
      )
      return 1
    }
    print(io, outputFormat(input), proof, () => proofLines(proof))
    return 0
  },
}

async function prove(
  io: Io,
  log: OpenCaLog,
  serial: string | undefined,
  since: string | undefined,
): Promise<InclusionProof | ConsistencyProof | undefined> {
  if (serial !== undefined) return log.prove(serial)
  const { size } = await readHeadFile(io, since ?? '')
  return log.proveSince(size)
}

/** A serial as it is written everywhere, or that of the first certificate of a file. */
async function serialOf(io: Io, place: string): Promise<string> {
  const isFile = await stat(resolve(io.cwd, place)).then(
    (found) => found.isFile(),
    () => false,
  )
  if (isFile || place === '-') {
    const [der] = readCertificates(await readBytes(place, io.cwd, MAX_INPUT_BYTES))
    if (der) return describeCertificate(der, io.now()).serial
  }
  const serial = place.toLowerCase().replaceAll(':', '')
  if (/^[0-9a-f]{1,40}$/.test(serial)) return serial.replace(/^(00)+(?=..)/, '')
  throw new DeployError(
    'DEPLOY_USAGE',
    `Cannot prove "${place}": it is no file here, and no serial in hex`,
  )
}

function proofLines(proof: InclusionProof | ConsistencyProof): readonly string[] {
  if (proof.kind === 'consistency') {
    return [...headLines(proof.head), `since    ${proof.first} entries`, pathLine(proof.path)]
  }
  const { entry, index, head, path } = proof
  const at = Temporal.Instant.fromEpochMilliseconds(entry.issued_at)
  return [
    ...headLines(head),
    `entry    ${index}: ${entry.kind} ${entry.serial}`,
    `subject  ${entry.subject}`,
    `issued   ${at} by ${entry.issuer_serial}, for ${entry.requested_by}`,
    ...(entry.life ? [`life     ${LIFE_WORDS[entry.life] ?? entry.life}`] : []),
    pathLine(path),
  ]
}

function pathLine({ length }: readonly string[]): string {
  return `proof    ${length} ${length === 1 ? 'hash' : 'hashes'}`
}
