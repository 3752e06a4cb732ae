import { CA_OPTIONS, openCaClient } from '../ca-client.ts'
import { printStep } from '../ca-step.ts'
import { type Command, flagOption } from '../command.ts'
import { OUTPUT_OPTION } from '../output.ts'

const REVOKED = 'is revoked: no new connection with it, open ones are closed within 2 s'

/** `redoubt ca revoke`: what is trusted no longer, everywhere within seconds. */
export const caRevoke: Command = {
  name: 'ca revoke',
  summary: 'take trust from a certificate, an identity, or a tainted key of the CA, everywhere',
  arguments: [
    {
      name: 'SERIAL|ID|KEY',
      summary: 'serial in hex, SPIFFE ID, or key identifier',
      required: true,
    },
  ],
  options: [
    { flags: '--undo', summary: 'give it back: of a serial or an identity' },
    { flags: '--force', summary: 'of a key: cut off certificates that have no successor yet' },
    ...CA_OPTIONS,
    OUTPUT_OPTION,
  ],
  examples: [
    {
      what: 'The certificate of a stolen laptop; its connections are closed, too',
      command: 'redoubt ca revoke e4a0b8722b4d67906b34047375eba80a',
    },
    {
      what: 'A workload altogether, until that is undone',
      command: 'redoubt ca revoke spiffe://cluster.local/ns/qotm/sa/intruder',
    },
  ],
  async run(io, input, signal) {
    const [given = ''] = input.arguments
    const subject = given.startsWith('spiffe://') ? given : given.toLowerCase()
    const request = {
      subject,
      undo: flagOption(input, 'undo'),
      force: flagOption(input, 'force'),
    }
    using ca = await openCaClient(io, input, signal)
    const step = await ca.call('revoke', request, signal)
    return printStep(
      io,
      input,
      step,
      request.undo ? `${subject} is trusted again` : `${subject} ${REVOKED}`,
    )
  },
}
