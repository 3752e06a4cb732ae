/** Taking trust from a key that signs JWT-SVIDs: in two steps, as from an issuing CA. */
import { CaError } from '../error.ts'
import type { JwtKeyStatus } from '../keys/jwt-keyring.ts'
import { type AdminCall, type AuditDeps, audited, callRow } from './administrator.ts'

/** The keys for tokens, and taking trust from one: in force at every agent within seconds. */
export interface JwtKeyAdmin {
  readonly list: (now: Temporal.Instant) => readonly JwtKeyStatus[]
  /** @throws {CaError} `CA_ROTATION_REFUSED` */
  readonly taint: (keyId: string) => Promise<void>
  /** @throws {CaError} `CA_ROTATION_REFUSED`, `CA_ROTATION_NOT_YET` */
  readonly revoke: (keyId: string, force: boolean) => Promise<void>
}

export interface JwtKeyDeps extends AuditDeps {
  readonly jwtKeys: JwtKeyAdmin
}

/** Whether `keyId` is, or was, such a key. */
export function isJwtKey({ jwtKeys, now }: JwtKeyDeps, keyId: string): boolean {
  return jwtKeys.list(now()).some((each) => each.keyId === keyId)
}

/**
 * Takes a step with a key for tokens. It is a row of the log whatever comes of it, written once the step is
 * taken: keys are in no database.
 *
 * @returns why it could not be taken yet
 * @throws {CaError} `CA_ROTATION_REFUSED`
 */
export function stepJwtKey(
  deps: JwtKeyDeps,
  call: AdminCall,
  step: (jwtKeys: JwtKeyAdmin) => Promise<void>,
): Promise<CaError | undefined> {
  return audited(deps, call, async (done) => {
    const { ledger, jwtKeys, now } = deps
    try {
      await step(jwtKeys)
    } catch (cause) {
      if (!(cause instanceof CaError) || cause.code !== 'CA_ROTATION_NOT_YET') throw cause
      await ledger.record({ calls: [callRow(call, cause.code, now())] })
      return cause
    }
    await ledger.record({ calls: [done] })
    return undefined
  })
}
