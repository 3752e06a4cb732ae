/** Certificates and identities that are trusted no longer, before their end. */
import { CaError } from '../error.ts'
import type { DenyEntry } from '../x509/index.ts'
import { parseSpiffeId } from '../spiffe/index.ts'
import { type Administrator, audited } from './administrator.ts'
import { isJwtKey } from './jwt-keys.ts'
import { revokeAuthority, type RotateDeps, type StepOutcome } from './rotate.ts'

export interface RevokeRequest {
  /** A serial, a SPIFFE ID, or the identifier of a key of the CA. */
  readonly subject: string
  readonly undo: boolean
  readonly force: boolean
}

/** An identity stays denied until somebody takes that back: its next certificate would be as good. */
export const FOR_EVER: Temporal.Instant = Temporal.Instant.from('9999-12-31T23:59:59Z')

/**
 * Takes trust from whatever `subject` names, or gives it back.
 *
 * @throws {CaError} `CA_DENIAL_INVALID` if it names nothing that can be denied; `CA_ROTATION_REFUSED`
 *   for a key of the CA that is not tainted
 */
export function revoke(
  deps: RotateDeps,
  by: Administrator,
  { subject, undo, force }: RevokeRequest,
): Promise<StepOutcome> {
  const authority = deps.authorities.book.current.authorities.find(
    ({ keyId, serial }) => keyId === subject || serial === subject,
  )
  const keyId = authority?.keyId ?? (isJwtKey(deps, subject) ? subject : undefined)
  if (keyId !== undefined && !undo) return revokeAuthority(deps, by, { keyId, force })
  const action = undo ? 'allow' : 'revoke'
  const call = { by, action, arguments: { subject: subject.slice(0, MAX_LOGGED) } }
  return audited(deps, call, async (done) => {
    const entry = await entryFor(deps, subject)
    await (undo ? deps.denials.lift([entry], done) : deps.denials.deny([entry], done))
    return { laggards: [], leaves: { rows: [], count: 0, replaced: 0 } }
  })
}

/** Characters of a name that somebody asked for; a SPIFFE ID has no more. */
const MAX_LOGGED = 2048

async function entryFor({ queries }: RotateDeps, subject: string): Promise<DenyEntry> {
  if (subject.startsWith('spiffe://')) {
    return { kind: 'spiffe-id', value: parseSpiffeId(subject), until: FOR_EVER }
  }
  const row = await queries
    .selectFrom('certificates')
    .select('not_after')
    .where('serial', '=', subject)
    .executeTakeFirst()
  if (row) {
    const until = Temporal.Instant.fromEpochMilliseconds(row.not_after)
    return { kind: 'serial', value: subject, until }
  }
  throw new CaError(
    'CA_DENIAL_INVALID',
    `Cannot revoke ${JSON.stringify(subject.slice(0, 80))}: the ledger has no certificate with this serial, ` +
      'and it is no SPIFFE ID and no key of the CA (redoubt ca list, redoubt ca status)',
  )
}
