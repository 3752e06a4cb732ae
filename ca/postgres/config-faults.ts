import type { KeyStoreConfig } from '../keys/open-keys.ts'
import { parseAddress } from './address.ts'
import type { PostgresConfig } from './pool.ts'

/** What is wrong with where a CA is told to keep its ledger; empty when nothing is. Pure. */
export function ledgerFaults({
  ledger,
  keys,
}: {
  readonly ledger?: PostgresConfig
  readonly keys?: KeyStoreConfig
}): readonly string[] {
  if (!ledger) return []
  const faults = [
    [parseAddress(ledger.url) !== undefined, 'ledger.url is no postgres://user@host/database'],
    [
      !URL.parse(ledger.url)?.password,
      'ledger.url has a password in it, expected it in a file or a variable',
    ],
    [ledger.caFile?.startsWith('/') !== false, 'ledger.caFile is not an absolute path'],
    [
      keys?.kind !== 'memory',
      'keys are in memory, where replicas cannot share them; expected files or pkcs11',
    ],
    [
      keys?.kind !== 'files' || keys.passphrase === undefined,
      'keys.passphrase is given, and they are in the ledger, which ledger.passphrase encrypts',
    ],
  ] as const
  return faults.flatMap(([holds, fault]) => (holds ? [] : [fault]))
}
