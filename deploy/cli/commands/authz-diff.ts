/** `redoubt authz diff`: which requests two sets of manifests decide differently. */
import { resolve } from 'node:path'

import {
  type Change,
  type Comparison,
  compareIntents,
  replayTraffic,
  type Traffic,
} from '#policy/index.ts'
import { readAccessLog } from '#policy/observed/index.ts'
import { DeployError } from '../../error.ts'
import { QUERY_OPTIONS, readIntentOf, readProviders } from '../authz-query.ts'
import { reasonOf } from '../authz-text.ts'
import { type Command, type Input, type Io, listOption, textOption } from '../command.ts'
import { OUTPUT_OPTION, outputFormat, paint, print } from '../output.ts'
import { witnessFlags } from '../witness-text.ts'

export const authzDiff: Command = {
  name: 'authz diff',
  summary:
    'say which requests change decision between two sets of manifests: 0 none, 1 some, 2 cannot tell',
  arguments: [
    { name: 'OLD', summary: 'manifests as they are: file or directory', required: true },
    { name: 'NEW', summary: 'manifests as they will be', required: true },
  ],
  options: [
    { flags: '--to <workload>', summary: 'only this one: namespace/name' },
    {
      flags: '--traffic <file>',
      summary:
        'an access log: how many of its requests would be decided otherwise; - for standard input',
    },
    { flags: '--limit <count>', summary: 'classes of requests told for a workload', default: '50' },
    ...QUERY_OPTIONS.filter(({ flags }) => flags.startsWith('--provider')),
    OUTPUT_OPTION,
  ],
  examples: [
    {
      what: 'What would this edit change',
      command: 'redoubt authz diff deploy/samples/qotm edited',
    },
    {
      what: 'Whom would it have hit today',
      command:
        'redoubt logs qotm/qotm-v1 --access -n 10000 | redoubt authz diff deploy/samples/qotm edited --to qotm/qotm-v1 --traffic -',
    },
  ],
  async run(io, input) {
    const [old = '', current = ''] = input.arguments
    const limit = Number(textOption(input, 'limit') ?? 50)
    if (!Number.isInteger(limit) || limit < 1) {
      throw new DeployError('DEPLOY_USAGE', 'Cannot read --limit: expected a number from 1')
    }
    const workload = textOption(input, 'to')
    const comparisons = compareIntents(
      await readIntentOf(io, [old]),
      await readIntentOf(io, [current]),
      {
        limit,
        providers: readProviders(listOption(input, 'provider')),
        ...(workload === undefined ? {} : { workload }),
      },
    )
    if (comparisons.length === 0) {
      const what = workload === undefined ? 'has a workload' : `has the workload ${workload}`
      throw new DeployError('DEPLOY_USAGE', `Cannot compare: neither set of manifests ${what}`)
    }
    const traffic = await readTraffic(io, input, comparisons)
    const told = comparisons.map(({ workloads, kind, changes, total, notes }) => {
      return { workloads, kind, changes, total, notes }
    })
    const isSame = comparisons.every(({ kind, total }) => kind === 'compared' && total === 0)
    const isTold = comparisons.every(({ notes }) => notes.length === 0)
    const value = { same: isSame, comparisons: told, ...(traffic === undefined ? {} : { traffic }) }
    print(io, outputFormat(input), value, () => [
      ...comparisons.flatMap((one) => comparisonLines(io, one)),
      ...(isSame && isTold ? [paint(io, 'green', 'every request is decided as before')] : []),
      ...(traffic === undefined ? [] : trafficLines(io, traffic)),
    ])
    if (!isSame) return 1
    return isTold ? 0 : 2
  },
}

async function readTraffic(
  io: Io,
  input: Input,
  comparisons: readonly Comparison[],
): Promise<Traffic | undefined> {
  const path = textOption(input, 'traffic')
  if (path === undefined) return undefined
  const text = path === '-' ? await io.readStdin() : await io.readFile(resolve(io.cwd, path))
  return replayTraffic(comparisons, readAccessLog([text], { undecided: true }).observations)
}

function comparisonLines(io: Io, comparison: Comparison): readonly string[] {
  const { workloads, kind, changes, total, notes } = comparison
  if (kind === 'compared' && total === 0 && notes.length === 0) return []
  const sentences = {
    added: 'is new',
    removed: 'is gone',
    compared:
      total === 0
        ? 'no request changes'
        : `${total} ${total === 1 ? 'class of requests changes' : 'classes of requests change'}`,
  }
  const more = total - changes.length
  return [
    `${paint(io, 'bold', workloads.join(', '))}  ${sentences[kind]}`,
    ...notes.map((note) => paint(io, 'yellow', `  note: ${note}`)),
    ...changes.flatMap((change) => changeLines(io, change)),
    ...(more > 0 ? [`  … and ${more} more: --limit ${total} tells all`] : []),
  ]
}

const STYLES = { allow: 'green', deny: 'red', unknown: 'yellow' } as const

function changeLines(io: Io, change: Change): readonly string[] {
  const { before, after, providers, when, witness, results } = change
  const word = (outcome: Change['before']): string => paint(io, [STYLES[outcome], 'bold'], outcome)
  const who = providers.length === 0 ? '' : `  (provider ${providers.join(', ')} decides)`
  return [
    `  ${word(before)} → ${word(after)}${who}  ${when.length === 0 ? 'every request' : `when ${when.join(', and ')}`}`,
    `      was: ${reasonOf(results.before)}`,
    `      now: ${reasonOf(results.after)}`,
    paint(io, 'dim', `      such as: redoubt authz check ${witnessFlags(witness)}`),
  ]
}

function trafficLines(io: Io, { requests, changed, uncertain }: Traffic): readonly string[] {
  const total = changed.reduce((sum, { count }) => sum + count, 0)
  return [
    paint(io, 'bold', `of ${requests} logged requests ${total} would be decided otherwise`),
    ...changed.map(({ change, count, example }) => {
      const { workload, caller = 'plaintext' } = example
      return `  ${count} × ${change}, such as ${requestText(example)} to ${workload} from ${caller}`
    }),
    ...(uncertain > 0
      ? [`  ${uncertain} cannot be told: the log does not have what policies read of them`]
      : []),
  ]
}

function requestText({
  protocol,
  method,
  target,
  port,
}: Traffic['changed'][number]['example']): string {
  return protocol === 'tcp' ? `a connection to port ${port}` : `${method} ${target}`
}
