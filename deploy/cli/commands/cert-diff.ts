/** `redoubt cert diff`: what changed between two certificates, and whether more than a rotation changes. */
import {
  type CertificateReport,
  type Change,
  describeCertificate,
  diffCertificates,
} from '#ca/inspect/index.ts'
import { DeployError } from '../../error.ts'
import type { Command, Input, Io } from '../command.ts'
import { findCertificates } from '../find-certificates.ts'
import { OUTPUT_OPTION, outputFormat, print, styleOf } from '../output.ts'
import { SOURCE_OPTIONS } from '../source-options.ts'

const OF_ENDPOINTS = /^--(password|sni|alpn|client|timeout)/

export const certDiff: Command = {
  name: 'cert diff',
  summary: 'what changed between two certificates; 1 if it is more than a rotation changes',
  arguments: [
    { name: 'A', summary: 'FILE, - or HOST:PORT: before', required: true },
    { name: 'B', summary: 'FILE, - or HOST:PORT: after', required: true },
  ],
  options: [...SOURCE_OPTIONS.filter(({ flags }) => OF_ENDPOINTS.test(flags)), OUTPUT_OPTION],
  examples: [
    {
      what: 'Was it only renewed, or is it somebody else?',
      command: 'redoubt cert diff yesterday.pem today.pem',
    },
    {
      what: 'Does the server show what was deployed?',
      command: 'redoubt cert diff cert.pem 127.0.0.1:8443',
    },
  ],
  async run(io, input, signal) {
    const [a = '-', b = '-'] = input.arguments
    if (a === '-' && b === '-') {
      throw new DeployError('DEPLOY_USAGE', 'Cannot compare standard input with itself')
    }
    const before = await leafOf(io, input, a, signal)
    const after = await leafOf(io, input, b, signal)
    const changes = diffCertificates(before, after)
    const verdict = verdictOf(changes)
    print(io, outputFormat(input), { verdict, changes }, () => [
      headline(io, verdict, after),
      ...changes.flatMap((change) => changeLines(io, change)),
    ])
    return verdict === 'changed' ? 1 : 0
  },
}

/** The first leaf, or what there is. */
async function leafOf(
  io: Io,
  input: Input,
  place: string,
  signal: AbortSignal,
): Promise<CertificateReport> {
  const { contents } = await findCertificates(
    io,
    { ...input, arguments: [place] },
    undefined,
    signal,
  )
  const reports = contents.certificates.map((der) => describeCertificate(der, io.now()))
  const leaf = reports.find(({ ca }) => !ca) ?? reports[0]
  if (leaf) return leaf
  throw new DeployError('DEPLOY_USAGE', `Cannot compare ${place}: there is no certificate in it`)
}

type Verdict = 'same' | 'rotated' | 'changed'

function verdictOf(changes: readonly Change[]): Verdict {
  if (changes.length === 0) return 'same'
  return changes.some(({ kind }) => kind === 'meaning') ? 'changed' : 'rotated'
}

function headline(io: Io, verdict: Verdict, { spiffeId, subject }: CertificateReport): string {
  const style = styleOf(io)
  const name = spiffeId ?? (subject || 'the certificate')
  switch (verdict) {
    case 'same':
      return style.good(`✔ ${name} is one and the same certificate`)
    case 'rotated':
      return style.good(`✔ ${name} was renewed, and means what it did`)
    case 'changed':
      return style.bad(`✘ ${name} is not what it was`)
  }
}

function changeLines(io: Io, { field, kind, before, after }: Change): readonly string[] {
  const style = styleOf(io)
  const paint = { meaning: style.bad, authority: style.warn, rotation: style.dim }[kind]
  return [`  ${paint(field.padEnd(14))} ${before}`, `  ${' '.repeat(12)}→  ${after}`]
}
