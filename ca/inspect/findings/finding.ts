import { CaError } from '../../error.ts'
import { parseSpiffeId, type SpiffeId } from '../../spiffe/index.ts'
import type { CertificateFacts } from '../facts.ts'

/** Something that is, or may be, wrong with a certificate. */
export interface Finding {
  /** `error`: peers refuse it, or it may not be used so. `warning`: it works today. */
  readonly severity: 'error' | 'warning' | 'info'
  /** Stable, kebab-case. */
  readonly rule: string
  /** The clause that says so; no two rules have the same. */
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
  /** Which certificates it is for; left out: every one. */
  readonly of?: 'leaf' | 'authority'
  /** It says no more than "something is wrong": asked only if no other rule has found an error. */
  readonly lastResort?: true
  readonly check: (subject: Subject) => string | false | undefined
}

/** What every rule that is for such a certificate has to say. */
export function judge(rules: readonly Rule[], subject: Subject): Finding[] {
  const kind = subject.facts.ca ? 'authority' : 'leaf'
  const apply = (some: readonly Rule[]): Finding[] =>
    some.flatMap(({ check, of = kind, lastResort: _, ...rule }) => {
      const message = of === kind && check(subject)
      return message ? [{ ...rule, message }] : []
    })
  const found = apply(rules.filter(({ lastResort }) => !lastResort))
  if (found.some(({ severity }) => severity === 'error')) return found
  return [...apply(rules.filter(({ lastResort }) => lastResort)), ...found]
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
