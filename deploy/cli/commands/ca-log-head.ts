import type { SignedHead } from '#ca/log/index.ts'
import { LOG_OPTIONS, openCaLog } from '../ca-log.ts'
import { type Command, flagOption } from '../command.ts'
import { OUTPUT_OPTION, outputFormat, print } from '../output.ts'

/** `redoubt ca log head`: the tree as it is, signed; what to keep, and show to the log later. */
export const caLogHead: Command = {
  name: 'ca log head',
  summary: "show the signed head of the CA's log; kept, it holds the CA to what was in it",
  options: [
    { flags: '--public-key', summary: "print the log's public key, PEM, in place of the head" },
    ...LOG_OPTIONS,
    OUTPUT_OPTION,
  ],
  examples: [
    {
      what: 'Keep the head where the CA cannot reach it',
      command: 'redoubt ca log head --output json > head.json',
    },
    {
      what: 'Give an auditor what checks every proof of this log',
      command: 'redoubt ca log head --public-key > log-key.pem',
    },
  ],
  async run(io, input, signal) {
    using log = await openCaLog(io, input, signal)
    if (flagOption(input, 'publicKey')) {
      io.out(log.publicKeyPem.trimEnd())
      return 0
    }
    const head = await log.head()
    print(io, outputFormat(input), head, () => headLines(head))
    return 0
  },
}

/** A head for people. */
export function headLines({ log, size, root, time, keyId }: SignedHead): readonly string[] {
  return [
    `log      ${log}, ${size} ${size === 1 ? 'entry' : 'entries'}`,
    `root     ${root}`,
    `signed   ${time} by key ${keyId.slice(0, 16)}`,
  ]
}
