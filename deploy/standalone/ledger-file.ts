/** Where the ledger of a mesh is, for commands on its state while it does not run. No secret is in it. */
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import type { LedgerSettings } from './messages.ts'

const FILE = 'ledger.json'

/** Notes it; for a ledger in the state directory there is nothing to note. */
export async function noteLedger(state: string, ledger: LedgerSettings | undefined): Promise<void> {
  const file = join(state, FILE)
  if (!ledger) return rm(file, { force: true })
  await writeFile(file, `${JSON.stringify(ledger, null, 2)}\n`, { mode: 0o600 })
}

/** What was noted; `undefined`: the ledger is in the state directory. */
export async function notedLedger(state: string): Promise<LedgerSettings | undefined> {
  try {
    return JSON.parse(await readFile(join(state, FILE), 'utf8')) as LedgerSettings
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw cause
  }
}
