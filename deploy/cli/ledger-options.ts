/** Where `redoubt up` is told to keep the CA's ledger. */
import { resolve } from 'node:path'

import type { SharedLedger } from '#ca/index.ts'
import { DeployError } from '../error.ts'
import { notedLedger } from '../standalone/ledger-file.ts'
import type { CaSettings, LedgerSettings } from '../standalone/messages.ts'
import { type CommandOption, type Input, type Io, textOption } from './command.ts'
import { parseRetention } from './duration.ts'

/** Where a ledger is that is shared. No secret is an argument: everybody on the machine can read those. */
export const SHARED_LEDGER_OPTIONS: readonly CommandOption[] = [
  {
    flags: '--ledger <url>',
    summary: 'a ledger that CAs share: postgres://user@host/database, without a password',
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

/** Of `up`; over what the Mesh says. */
export const LEDGER_OPTIONS: readonly CommandOption[] = [
  {
    flags: '--retention <duration>',
    summary: 'how long rows of certificates that ended stay in the ledger',
    default: '90d',
  },
  ...SHARED_LEDGER_OPTIONS,
]

/** What the CA is told of its ledger. @throws {DeployError} `DEPLOY_USAGE` */
export function caSettings({ cwd }: Pick<Io, 'cwd'>, input: Input): CaSettings {
  const retention = String(parseRetention(textOption(input, 'retention') ?? '90d'))
  const ledger = givenLedger({ cwd }, input)
  return { retention, ...(ledger && { ledger }) }
}

/**
 * The ledger of a state that is looked at while no mesh runs on it, or anywhere: the one of `--ledger`,
 * else the one that the last mesh on that state had; `undefined` for SQLite, in the state.
 *
 * @throws {DeployError} `DEPLOY_USAGE`
 */
export async function sharedLedger(
  io: Pick<Io, 'cwd' | 'env'>,
  input: Input,
  state: string,
): Promise<SharedLedger | undefined> {
  const ledger = givenLedger(io, input) ?? (await notedLedger(state))
  return ledger && { ledger, env: io.env }
}

/** That of `--ledger`. @throws {DeployError} `DEPLOY_USAGE` */
export function givenLedger({ cwd }: Pick<Io, 'cwd'>, input: Input): LedgerSettings | undefined {
  const url = textOption(input, 'ledger')
  if (url === undefined) return undefined
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
    kind: 'postgres',
    url,
    passphrase: { file: passphrase },
    ...(password !== undefined && { password: { file: password } }),
    ...(caFile !== undefined && { caFile }),
  }
}

function usage(why: string): DeployError {
  return new DeployError('DEPLOY_USAGE', `Cannot use the database of --ledger: ${why}`)
}
