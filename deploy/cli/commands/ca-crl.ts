import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'

import { pemFromDer } from '#ca/x509/index.ts'
import { CA_OPTIONS, openCaClient } from '../ca-client.ts'
import { type Command, textOption } from '../command.ts'

/** `redoubt ca crl`: what is revoked, for those who follow no stream of ours. */
export const caCrl: Command = {
  name: 'ca crl',
  summary: 'export revocation lists (RFC 5280), one for each of the keys of the CA, as PEM',
  options: [
    { flags: '--out <file>', summary: 'where to (default: standard output)' },
    ...CA_OPTIONS,
  ],
  examples: [
    { what: 'For a proxy that wants a file', command: 'redoubt ca crl --out redoubt.crl' },
    {
      what: 'Read it',
      command: 'redoubt ca crl | openssl crl -noout -text',
    },
  ],
  async run(io, input, signal) {
    using ca = await openCaClient(io, input, signal)
    const { crls } = await ca.call('exportCrls', {}, signal)
    const text = crls.map((der) => pemFromDer('X509 CRL', der)).join('')
    const file = textOption(input, 'out')
    if (file === undefined) io.out(text.trimEnd())
    else await writeFile(resolve(io.cwd, file), text)
    return 0
  },
}
