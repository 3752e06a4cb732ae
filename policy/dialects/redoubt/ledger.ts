/** `Mesh`: where the ledger of the certificate authority is, and how many share it. */
import { z } from 'zod'

import type { LedgerIntent } from '../../model/mesh-authority.ts'
import { fields, type Report, text } from '../schema.ts'
import { filled, readSecret, secret, type WrittenSecret } from './secret.ts'

/** More CAs than this on one database wait for each other. */
const MAX_REPLICAS = 16

/** `certificateAuthority.replicas`. */
export const replicasSchema: z.ZodNumber = z.number().int().min(1).max(MAX_REPLICAS)

/** The wire form that {@link ledgerSchema} accepts. */
export interface WrittenLedger {
  readonly store: 'sqlite' | 'postgres'
  readonly url?: string | undefined
  readonly password?: WrittenSecret | undefined
  readonly passphrase?: WrittenSecret | undefined
  readonly caFile?: string | undefined
}

const url = text(urlFault)

/** `certificateAuthority.ledger`. */
export const ledgerSchema: z.ZodType<WrittenLedger> = fields(
  {
    store: z.enum(['sqlite', 'postgres']),
    url: url.optional(),
    password: secret.optional(),
    passphrase: secret.optional(),
    caFile: filled.optional(),
  },
  { check: checkLedger },
)

/** The password is in no message: a URL that has one is not repeated. */
function urlFault(written: string): string | undefined {
  const found = URL.parse(written)
  if (found?.password || found?.searchParams.has('password')) {
    return 'it has a password in it, expected password.file or password.env beside it'
  }
  if (found && /^postgres(ql)?:$/.test(found.protocol)) return undefined
  return 'expected postgres://user@host:port/database'
}

function checkLedger(written: WrittenLedger, report: Report): void {
  const { store, ...rest } = written
  for (const [name, value] of Object.entries(rest)) {
    if (store === 'sqlite' && value !== undefined) report([name], 'a store of sqlite has none')
  }
  for (const name of ['url', 'passphrase'] as const) {
    if (store === 'postgres' && written[name] === undefined) {
      report([], `a store of postgres needs ${name}`)
    }
  }
}

/** What the whole of `certificateAuthority` has to say of its ledger. */
export interface SharedWritten {
  readonly replicas?: number | undefined
  readonly ledger?: WrittenLedger | undefined
  readonly keys?: { readonly store: string; readonly passphrase?: unknown } | undefined
}

/** Several CAs share their ledger, and their keys with it. */
export function checkShared({ replicas = 1, ledger, keys }: SharedWritten, report: Report): void {
  const isShared = ledger?.store === 'postgres'
  if (replicas > 1 && !isShared) {
    report(
      ['replicas'],
      `${replicas} CAs need a ledger that they share, expected ledger.store: postgres`,
    )
  }
  if (!isShared) return
  if (keys?.store === 'memory') {
    report(
      ['keys', 'store'],
      'CAs with a ledger in postgres share their keys, expected files or pkcs11',
    )
  }
  if (keys?.passphrase !== undefined) {
    report(['keys', 'passphrase'], 'keys are in the ledger, which ledger.passphrase encrypts')
  }
}

/** `undefined` for SQLite, which is what there is without. */
export function readLedger(written: WrittenLedger | undefined): LedgerIntent | undefined {
  if (written?.store !== 'postgres') return undefined
  const { url: at = '', password, passphrase, caFile } = written
  return {
    kind: 'postgres',
    url: at,
    passphrase: readSecret(passphrase),
    ...(password && { password: readSecret(password) }),
    ...(caFile !== undefined && { caFile }),
  }
}
