/** `redoubt authz check`: would this request be let through? */
import { check, createTokenChecker } from '#policy/check/index.ts'
import { QUERY_OPTIONS, readIntent, readQuery } from '../authz-query.ts'
import { exitCodeOf, resultLines } from '../authz-text.ts'
import type { Command } from '../command.ts'
import { outputFormat, print } from '../output.ts'
import { FETCH_OPTION, tokensOf } from '../tokens.ts'

export const authzCheck: Command = {
  name: 'authz check',
  summary: 'decide one request from manifests, as the sidecar would',
  options: [...QUERY_OPTIONS, FETCH_OPTION],
  examples: [
    {
      what: 'May the edge read a quote',
      command:
        'redoubt authz check -f deploy/samples/qotm --to qotm/qotm-v1 --from spiffe://cluster.local/ns/qotm/sa/edge --path /quote',
    },
    {
      what: 'Does plaintext get in',
      command: 'redoubt authz check -f deploy/samples/qotm --to qotm/quotes-db --from none',
    },
  ],
  async run(io, input, signal) {
    const query = readQuery(input)
    const intent = await readIntent(io, input, signal)
    const tokens = await tokensOf(io, input, intent, signal)
    const result = tokens ? await createTokenChecker(intent, tokens)(query) : check(intent, query)
    print(io, outputFormat(input), result, () => resultLines(io, result))
    return exitCodeOf(result)
  },
}
