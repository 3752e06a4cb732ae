/** `redoubt authz explain`: the decision, and the first field that stopped each rule. */
import { explain } from '#policy/index.ts'
import { QUERY_OPTIONS, readIntent, readQuery } from '../authz-query.ts'
import { exitCodeOf, explanationLines, resultLines } from '../authz-text.ts'
import type { Command } from '../command.ts'
import { outputFormat, print } from '../output.ts'

export const authzExplain: Command = {
  name: 'authz explain',
  summary: 'decide one request, and say for every rule where it stopped',
  options: QUERY_OPTIONS,
  examples: [
    {
      what: 'Why is the intruder refused',
      command:
        'redoubt authz explain -f deploy/samples/qotm --to qotm/qotm-v1 --from spiffe://cluster.local/ns/qotm/sa/intruder',
    },
    {
      what: 'The same for another program',
      command:
        'redoubt authz explain -f deploy/samples/qotm --to qotm/qotm-v1 --from none --output json',
    },
  ],
  async run(io, input) {
    const query = readQuery(input)
    const explanation = explain(await readIntent(io, input), query)
    print(io, outputFormat(input), explanation, () => [
      ...resultLines(io, explanation),
      ...explanationLines(io, explanation),
    ])
    return exitCodeOf(explanation)
  },
}
