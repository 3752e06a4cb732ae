import { CaError } from '../../error.ts'
import { parseSpiffeId, type SpiffeId } from '../../spiffe/index.ts'
import type { CertificateFacts } from '../facts.ts'

/** Something that is, or may be, wrong with a certificate. */
export interface Finding {
  /** `error`: peers refuse it, or it may not be used so. `warning`: it works today. */
  readonly severity: 'error' | 'warning' | 'info'
  /** Stable, kebab-case. */
  readonly rule: string
  /** The clause that says so. */
  readonly source: string
  /** What is so, and what was wanted. */
  readonly message: string
  /** What to do about it, where there is something to do. */
  readonly hint?: string
}

/** What a rule looks at. */
export interface Subject {
  readonly facts: CertificateFacts
  readonly now: Temporal.Instant
  /** All URI names; the SPIFFE ID is one of them. */
  readonly uris: readonly string[]
}

/** One rule: a row of a table. `check` says what is wrong, or nothing. */
export interface Rule extends Omit<Finding, 'message'> {
  readonly check: (subject: Subject) => string | false | undefined
}

/** What every rule of a table has to say. */
export function judge(rules: readonly Rule[], subject: Subject): Finding[] {
  return rules.flatMap(({ check, ...rule }) => {
    const message = check(subject)
    return message ? [{ ...rule, message }] : []
  })
}

/** The SPIFFE ID that `uri` is, or why it is none. */
export function readId(uri: string): SpiffeId | { readonly fault: string } {
  try {
    return parseSpiffeId(uri)
  } catch (cause) {
    if (!(cause instanceof CaError)) throw cause
    return { fault: cause.message }
  }
}
