/** `redoubt authz prove`: assertions about manifests, decided over every request that can be. */
import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'

import { type Proof, proveAssertions } from '#policy/compare/index.ts'
import { type Assertion, readAssertions } from '#policy/dialects/index.ts'
import { DeployError } from '../../error.ts'
import { QUERY_OPTIONS, readIntent, readProviders } from '../authz-query.ts'
import { reasonOf } from '../authz-text.ts'
import { type Command, type ExitCode, type Io, listOption, textOption } from '../command.ts'
import { type JunitCase, junitReport } from '../junit.ts'
import { FILE_OPTION } from '../manifest-source.ts'
import { OUTPUT_OPTION, outputFormat, paint, print } from '../output.ts'
import { witnessCommand } from '../witness-text.ts'
import { readText } from '../read-text.ts'
import { STATE_OPTION } from '../state-option.ts'

export const authzProve: Command = {
  name: 'authz prove',
  summary:
    'decide assertions over every possible request: 0 all hold, 1 one does not, 2 cannot tell',
  options: [
    FILE_OPTION,
    STATE_OPTION,
    {
      flags: '--assertions <file>',
      summary: 'YAML: assertions with name, workload, and never, always or only; or -',
      required: true,
    },
    { flags: '--junit <file>', summary: "also write JUnit's XML there" },
    ...QUERY_OPTIONS.filter(({ flags }) => flags.startsWith('--provider')),
    OUTPUT_OPTION,
  ],
  examples: [
    {
      what: 'Hold policies to what was promised',
      command: 'redoubt authz prove -f deploy/samples/qotm --assertions assertions.yaml',
    },
    {
      what: 'Say that nobody but qotm reads the quotes, and find out',
      command:
        "echo 'assertions: [{name: quotes, workload: qotm/quotes-db, only: [{from: [{source: {serviceAccounts: [qotm/qotm]}}]}]}]' | redoubt authz prove -f deploy/samples/qotm --assertions -",
    },
  ],
  async run(io, input, signal) {
    const path = textOption(input, 'assertions') ?? ''
    const text = await readText(io, path)
    const assertions = readAll(io, path, text)
    const providers = readProviders(listOption(input, 'provider'))
    const proofs = proveAssertions(await readIntent(io, input, signal), assertions, { providers })
    print(io, outputFormat(input), { proofs }, () => [
      ...proofs.flatMap((proof) => proofLines(io, proof)),
      summary(proofs),
    ])
    const junit = textOption(input, 'junit')
    if (junit !== undefined) {
      await writeFile(
        resolve(io.cwd, junit),
        junitReport('redoubt authz prove', proofs.map(caseOf)),
      )
    }
    return exitCodeOf(proofs)
  },
}

function readAll(io: Io, path: string, text: string): readonly Assertion[] {
  const read = readAssertions(text)
  if (read.kind === 'read') return read.assertions
  for (const { line, pointer, message, hint } of read.faults) {
    io.err(`${path}:${line} ${pointer} ${message}${hint === undefined ? '' : `; ${hint}`}`)
  }
  const count = read.faults.length
  const what = `Cannot read assertions: ${path} has ${count} ${count === 1 ? 'fault' : 'faults'}`
  throw new DeployError('DEPLOY_USAGE', what)
}

function exitCodeOf(proofs: readonly Proof[]): ExitCode {
  if (proofs.some(({ verdict }) => verdict === 'false')) return 1
  return proofs.every(({ verdict }) => verdict === 'true') ? 0 : 2
}

const MARKS = { true: ['green', '✔'], false: ['red', '✘'], unknown: ['yellow', '?'] } as const

function proofLines(io: Io, proof: Proof): readonly string[] {
  const { name, verdict, workloads } = proof
  const [colour, mark] = MARKS[verdict]
  const where = workloads.length === 1 ? workloads[0] : `${workloads.length} workloads`
  return [
    `${paint(io, colour, mark)} ${name}  ${paint(io, 'dim', where ?? '')}`,
    ...whyNot(proof).map((line) => `    ${line}`),
  ]
}

/** What speaks against it; empty when it holds. */
function whyNot({ kind, verdict, counterexample, reason }: Proof): readonly string[] {
  if (verdict === 'true') return []
  if (counterexample === undefined) return reason === undefined ? [] : [reason]
  const { workload, when, witness, result, token } = counterexample
  const said = kind === 'always' ? 'denied' : 'allowed'
  const fate = verdict === 'unknown' ? 'decided by a provider' : said
  return [
    `at ${workload} it is ${fate}${when.length === 0 ? ', every request' : ` when ${when.join(', and ')}`}`,
    reasonOf(result),
    `such as: ${witnessCommand(witness, token)}`,
  ]
}

function summary(proofs: readonly Proof[]): string {
  const count = (wanted: Proof['verdict']): number =>
    proofs.filter(({ verdict }) => verdict === wanted).length
  return `${count('true')} hold, ${count('false')} do not, ${count('unknown')} cannot be told`
}

function caseOf(proof: Proof): JunitCase {
  const { name, verdict } = proof
  if (verdict === 'true') return { name }
  const lines = whyNot(proof)
  const kind = verdict === 'false' ? 'failure' : 'error'
  return { name, fault: { kind, message: lines[0] ?? '', text: lines.join('\n') } }
}
