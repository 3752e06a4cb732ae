/** Where `redoubt up` is told to keep the CA's ledger. */
import { resolve } from 'node:path'

import { DeployError } from '../error.ts'
import type { CaSettings } from '../standalone/messages.ts'
import { type CommandOption, type Input, type Io, textOption } from './command.ts'
import { parseRetention } from './duration.ts'

/** Of `up`. No secret is an argument: everybody on the machine can read those. */
export const LEDGER_OPTIONS: readonly CommandOption[] = [
  {
    flags: '--retention <duration>',
    summary: 'how long rows of certificates that ended stay in the ledger',
    default: '90d',
  },
  {
    flags: '--ledger <url>',
    summary: 'postgres://user@host/database, shared with other CAs (default: SQLite in the state)',
  },
  {
    flags: '--ledger-passphrase-file <file>',
    summary: 'encrypts the keys that CAs share through the database; the same for all',
  },
  {
    flags: '--ledger-password-file <file>',
    summary: 'password of the database (default: PGPASSWORD, PGPASSFILE)',
  },
  { flags: '--ledger-ca <file>', summary: 'who vouches for the database server, PEM' },
]

/** What the CA is told of its ledger. @throws {DeployError} `DEPLOY_USAGE` */
export function caSettings({ cwd }: Pick<Io, 'cwd'>, input: Input): CaSettings {
  const retention = String(parseRetention(textOption(input, 'retention') ?? '90d'))
  const url = textOption(input, 'ledger')
  if (url === undefined) return { retention }
  if (URL.parse(url)?.password) {
    throw usage('it has a password in it, expected --ledger-password-file FILE or PGPASSFILE')
  }
  const file = (name: string): string | undefined => {
    const given = textOption(input, name)
    return given === undefined ? undefined : resolve(cwd, given)
  }
  const [passphrase, password] = [file('ledgerPassphraseFile'), file('ledgerPasswordFile')]
  const caFile = file('ledgerCa')
  if (passphrase === undefined) throw usage('expected --ledger-passphrase-file FILE, too')
  return {
    retention,
    ledger: {
      kind: 'postgres',
      url,
      passphrase: { file: passphrase },
      ...(password !== undefined && { password: { file: password } }),
      ...(caFile !== undefined && { caFile }),
    },
  }
}

function usage(why: string): DeployError {
  return new DeployError('DEPLOY_USAGE', `Cannot use the database of --ledger: ${why}`)
}
