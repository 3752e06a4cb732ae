/** `redoubt authz diff`: which requests two sets of manifests decide differently. */
import {
  type Change,
  type Comparison,
  compareIntents,
  replayTraffic,
  type Traffic,
} from '#policy/compare/index.ts'
import type { Intent } from '#policy/index.ts'
import { DeployError } from '../../error.ts'
import { intentOf, QUERY_OPTIONS, readIntentOf, readProviders } from '../authz-query.ts'
import { reasonOf } from '../authz-text.ts'
import { type Command, type Input, type Io, listOption, textOption } from '../command.ts'
import { readLive } from '../manifest-source.ts'
import { readLogs } from '../observed-log.ts'
import { OUTPUT_OPTION, outputFormat, paint, print } from '../output.ts'
import { STATE_OPTION } from '../state-option.ts'
import { witnessCommand } from '../witness-text.ts'

export const authzDiff: Command = {
  name: 'authz diff',
  summary:
    'say which requests change decision between two sets of manifests: 0 none, 1 some, 2 cannot tell',
  arguments: [
    {
      name: 'MANIFESTS...',
      summary:
        'OLD and NEW: files or directories; one alone is NEW, and OLD is what is in force in the running mesh',
      required: true,
    },
  ],
  options: [
    { flags: '--to <workload>', summary: 'only this one: namespace/name' },
    {
      flags: '--traffic <file>',
      summary:
        'an access log: how many of its requests would be decided otherwise; - for standard input (default with NEW alone: the logs of the running mesh)',
    },
    { flags: '--since <duration>', summary: 'only traffic that is not older, e.g. 2h' },
    STATE_OPTION,
    { flags: '--limit <n>', summary: 'classes of requests told for a workload', default: '50' },
    ...QUERY_OPTIONS.filter(({ flags }) => flags.startsWith('--provider')),
    OUTPUT_OPTION,
  ],
  examples: [
    {
      what: 'What would this edit change',
      command: 'redoubt authz diff deploy/samples/qotm edited',
    },
    {
      what: 'What would it change in the running mesh, and whom would it have hit in the last two hours',
      command: 'redoubt authz diff edited --since 2h',
    },
  ],
  async run(io, input, signal) {
    const limit = Number(textOption(input, 'limit') ?? 50)
    if (!Number.isInteger(limit) || limit < 1) {
      throw new DeployError('DEPLOY_USAGE', 'Cannot read --limit: expected a number from 1')
    }
    const workload = textOption(input, 'to')
    const [before, after] = await readSides(io, input, signal)
    const comparisons = compareIntents(before, after, {
      limit,
      providers: readProviders(listOption(input, 'provider')),
      ...(workload === undefined ? {} : { workload }),
    })
    if (comparisons.length === 0) {
      const what = workload === undefined ? 'has a workload' : `has the workload ${workload}`
      throw new DeployError('DEPLOY_USAGE', `Cannot compare: neither set of manifests ${what}`)
    }
    const traffic = await readTraffic(io, input, comparisons, signal)
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

/** Both sets; the old one may be what is in force in the running mesh. */
async function readSides(
  io: Io,
  input: Input,
  signal: AbortSignal,
): Promise<readonly [Intent, Intent]> {
  const [first = '', second, ...more] = input.arguments
  if (more.length > 0) {
    const count = input.arguments.length
    const wanted = 'expected OLD and NEW, or NEW alone with a mesh that runs'
    throw new DeployError('DEPLOY_USAGE', `Cannot compare ${count} sets of manifests: ${wanted}`)
  }
  if (second !== undefined)
    return [await readIntentOf(io, [first]), await readIntentOf(io, [second])]
  return [intentOf(io, await readLive(io, input, signal)), await readIntentOf(io, [first])]
}

/** Traffic that was named, or else of the running mesh when that is compared with. */
async function readTraffic(
  io: Io,
  input: Input,
  comparisons: readonly Comparison[],
  signal: AbortSignal,
): Promise<Traffic | undefined> {
  const path = textOption(input, 'traffic')
  if (path === undefined && input.arguments.length > 1) {
    if (textOption(input, 'since') === undefined) return undefined
    const wanted = 'expected --traffic FILE, or NEW alone with a mesh that runs'
    throw new DeployError('DEPLOY_USAGE', `Cannot go by --since without traffic: ${wanted}`)
  }
  const sources = path === undefined ? [] : [path]
  const { observations } = await readLogs(io, input, { sources, undecided: true }, signal)
  return replayTraffic(comparisons, observations)
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
    paint(io, 'dim', `      such as: ${witnessCommand(witness, change.token)}`),
  ]
}

function trafficLines(io: Io, { requests, changed, uncertain }: Traffic): readonly string[] {
  const total = changed.reduce((sum, { count }) => sum + count, 0)
  if (requests === 0) return ['no request is logged there, so nothing can be said of real ones']
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
