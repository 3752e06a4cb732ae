/** `redoubt authz explain`: the decision, and the first field that stopped each rule. */
import { type CheckExplanation, explain, explainWithTokens } from '#policy/check/index.ts'
import { DeployError } from '../../error.ts'
import { intentOf, QUERY_OPTIONS, readIntent, readQuery } from '../authz-query.ts'
import { denialLines, exitCodeOf, explanationLines, resultLines } from '../authz-text.ts'
import {
  type Command,
  type ExitCode,
  type Input,
  type Io,
  listOption,
  textOption,
} from '../command.ts'
import { type Denial, findDenial, queryOfDenial } from '../find-denial.ts'
import { askLive } from '../manifest-source.ts'
import { outputFormat, paint, print } from '../output.ts'
import { FETCH_OPTION, tokensOf } from '../tokens.ts'

export const authzExplain: Command = {
  name: 'authz explain',
  summary: 'say of one request, or of a denial that happened, who decided and why',
  options: [
    ...QUERY_OPTIONS.map((option) => ({ ...option, required: false })),
    { flags: '--decision <id>', summary: 'a denial that happened: its x-redoubt-decision header' },
    { flags: '--log <file>', summary: 'look for it in this access log; - for standard input' },
    FETCH_OPTION,
  ],
  examples: [
    {
      what: 'Why is the intruder refused',
      command:
        'redoubt authz explain -f deploy/samples/qotm --to qotm/qotm-v1 --from spiffe://cluster.local/ns/qotm/sa/intruder',
    },
    {
      what: 'Why was this caller refused just now',
      command: 'redoubt authz explain --decision 4f2a90c1d7e84b3f9a6c5d2e1b0f7a83',
    },
  ],
  async run(io, input, signal) {
    const id = textOption(input, 'decision')
    if (id !== undefined) return explainDenial(io, input, id, signal)
    if (textOption(input, 'to') === undefined || textOption(input, 'from') === undefined) {
      const wanted = 'expected --to and --from, or --decision'
      throw new DeployError('DEPLOY_USAGE', `Cannot explain: ${wanted}`)
    }
    const query = readQuery(input)
    const intent = await readIntent(io, input, signal)
    const tokens = await tokensOf(io, input, intent, signal)
    const explanation = tokens
      ? await explainWithTokens(intent, query, tokens)
      : explain(intent, query)
    print(io, outputFormat(input), explanation, () => [
      ...resultLines(io, explanation),
      ...(explanation.sentence === undefined ? [] : [`  ${explanation.sentence}`]),
      ...explanationLines(io, explanation),
    ])
    return exitCodeOf(explanation)
  },
}

async function explainDenial(
  io: Io,
  input: Input,
  id: string,
  signal: AbortSignal,
): Promise<ExitCode> {
  const denial = await findDenial(io, input, id, signal)
  if (denial === undefined) {
    io.err(
      `redoubt: Cannot find decision ${id}: it is neither held nor logged where it was looked for`,
    )
    return 2
  }
  const now = await explainNow(io, input, denial, signal)
  const told = now === undefined ? denial : { ...denial, now }
  print(io, outputFormat(input), told, () => [
    ...denialLines(denial),
    ...(now === undefined ? [] : nowLines(io, now)),
  ])
  return 1
}

/** The same under the manifests that are given or in force, where there are any. */
async function explainNow(
  io: Io,
  input: Input,
  denial: Denial,
  signal: AbortSignal,
): Promise<CheckExplanation | undefined> {
  const query = queryOfDenial(denial)
  if (query === undefined) return undefined
  const isGiven = listOption(input, 'file').length > 0
  const live = isGiven ? undefined : await askLive(io, input, signal)
  if (!isGiven && live === undefined) return undefined
  const intent = live ? intentOf(io, live.files) : await readIntent(io, input, signal)
  return explain(intent, query)
}

function nowLines(io: Io, now: CheckExplanation): readonly string[] {
  const { decision, sentence } = now
  const note = 'headers and claims are not kept: rules that ask for them are held against none'
  return [
    '',
    paint(
      io,
      'bold',
      `under the manifests ${decision === 'deny' ? 'it is refused' : `now: ${decision}`}`,
    ),
    ...(sentence === undefined ? [] : [`  ${sentence}`]),
    ...explanationLines(io, now).map((line) => `  ${line}`),
    paint(io, 'dim', `  (${note})`),
  ]
}
