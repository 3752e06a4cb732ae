import { CA_OPTIONS, openCaClient } from '../ca-client.ts'
import { type Command, textOption } from '../command.ts'
import { parseRetention } from '../duration.ts'
import { OUTPUT_OPTION, outputFormat, print } from '../output.ts'

/** `redoubt ca log prune`: rows of leaves that ended long ago go; what the log proves stays. */
export const caLogPrune: Command = {
  name: 'ca log prune',
  summary: 'let go of rows of certificates that ended long ago; their hashes stay in the log',
  options: [
    {
      flags: '--retention <duration>',
      summary: 'how long rows stay after the end',
      default: '90d',
    },
    ...CA_OPTIONS,
    OUTPUT_OPTION,
  ],
  examples: [
    {
      what: 'Keep a quarter, as the CA does by itself once a day',
      command: 'redoubt ca log prune',
    },
    { what: 'Keep a week', command: 'redoubt ca log prune --retention 7d' },
  ],
  async run(io, input, signal) {
    const retention = parseRetention(textOption(input, 'retention') ?? '90d')
    using ca = await openCaClient(io, input, signal)
    const retentionSeconds = BigInt(Math.floor(retention.total('seconds')))
    const rows = Number((await ca.call('pruneLedger', { retentionSeconds }, signal)).rows)
    print(io, outputFormat(input), { rows }, () => [
      `${rows} ${rows === 1 ? 'row' : 'rows'} pruned`,
    ])
    return 0
  },
}
