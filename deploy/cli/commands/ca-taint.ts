import { CA_OPTIONS, openCaClient } from '../ca-client.ts'
import { printStep } from '../ca-step.ts'
import type { Command } from '../command.ts'
import { OUTPUT_OPTION } from '../output.ts'

/** `redoubt ca taint`: a key that may have leaked; what it signed is renewed at once. */
export const caTaint: Command = {
  name: 'ca taint',
  summary:
    'renew at once everything that a key of the CA signed, certificates or tokens; then revoke it',
  arguments: [{ name: 'KEY', summary: 'key identifier, as ca status shows it', required: true }],
  options: [...CA_OPTIONS, OUTPUT_OPTION],
  examples: [
    {
      what: 'The issuing CA that signs now may have leaked: replace it, renew all that it signed',
      command:
        'redoubt ca taint "$(redoubt ca status -o json | jq -r \'.authorities[] | select(.kind == "issuing" and .state == "active").keyId\')"',
    },
    {
      what: 'Then take trust from it, once everything is renewed',
      command:
        'redoubt ca taint 132297d465f76780f1027c23ee110bc62e586c98 && redoubt ca revoke 132297d465f76780f1027c23ee110bc62e586c98',
    },
  ],
  async run(io, input, signal) {
    const [keyId = ''] = input.arguments
    using ca = await openCaClient(io, input, signal)
    return printStep(io, input, await ca.call('taint', { keyId: keyId.toLowerCase() }, signal))
  },
}
