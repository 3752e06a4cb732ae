import type { Action } from './authorization.ts'
import type { Connection, HttpAttributes } from './attempt.ts'
import type { MtlsMode } from './bundle.ts'

declare const brand: unique symbol

/** Proof that a request was allowed. What forwards takes one, so an unchecked request does not compile. */
export interface Permit {
  readonly [brand]: 'Permit'
  /** `namespace/name` of the policy that allowed it; `null` when no ALLOW policy applies. */
  readonly policy: string | null
  /** Index of the rule that matched, from 0. */
  readonly rule: number | null
}

/** What a dry-run policy would have done (§1.10); of a PeerAuthentication `action` is its mode. */
export interface DryRunResult {
  readonly policy: string
  readonly action: 'ALLOW' | 'DENY' | MtlsMode
  readonly result: 'allowed' | 'denied'
  readonly rule: number | null
}

interface Evidence {
  /** Would-be results of dry-run policies. */
  readonly dryRun: readonly DryRunResult[]
  /** `namespace/name` of each AUDIT policy that matched. */
  readonly audit: readonly string[]
}

export interface Allowed extends Evidence {
  readonly kind: 'allow'
  readonly permit: Permit
}

export interface Denied extends Evidence {
  readonly kind: 'deny'
  readonly action: Action
  /**
   * `no-allow-matched`: ALLOW policies apply ({@link considered}) and none matched.
   * `evaluation-failed`: a matcher could not answer.
   * `token-refused`: the request's token does not verify ({@link detail}); answered 401 or 403.
   * `denied-by-provider`, `provider-failed`: the provider ({@link detail}) said no, or could not be asked.
   * `ambiguous-path`: a path rule applies and servers differ on what the path names; answered 400.
   */
  readonly reason:
    | 'denied-by-policy'
    | 'no-allow-matched'
    | 'custom-provider-unavailable'
    | 'evaluation-failed'
    | 'ambiguous-path'
    | 'token-refused'
    | 'denied-by-provider'
    | 'provider-failed'
  /** `namespace/name` that denied; `null` for a default denial. */
  readonly policy: string | null
  readonly rule: number | null
  /** Of a refused token: why, as the caller was told. Of a provider: its name, and why it could not be asked. */
  readonly detail?: string
  /** For a default denial: `namespace/name` of each ALLOW policy that applied and did not match. */
  readonly considered: readonly string[]
}

/** A CUSTOM rule matched: ask `provider`, then call `proceed` if it says yes (§1.11). */
export interface AskProvider extends Evidence {
  readonly kind: 'ask'
  readonly provider: string
  readonly policy: string
  readonly rule: number
  readonly proceed: () => Decision
}

export type Decision = Allowed | Denied | AskProvider

/** Decides one request (`http` given) or one TCP connection (`undefined`). Never throws: a fault denies. */
export type Decide = (http: HttpAttributes | undefined) => Decision

/** Policies of one workload, compiled: call once per accepted connection, then once per request. */
export type Engine = (connection: Connection) => Decide

/** Only an evaluator calls this. */
export function mintPermit(policy: string | null, rule: number | null): Permit {
  return { policy, rule } as Permit
}
