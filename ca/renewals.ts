/** What the CA replaces by itself, told from the first failure on: in metrics, and in health until it has worked. */
import { CaError } from './error.ts'
import type { CaMetrics } from './serve/metrics.ts'

/** What is replaced. */
export type Renewed = 'root' | 'issuing' | 'server' | 'jwt'

/** Counts replacements, and remembers those that fail. */
export interface Renewals {
  readonly taken: (what: Renewed) => void
  readonly failed: (what: Renewed, cause: unknown) => void
  /** It works again, though nothing had to be replaced. */
  readonly works: (what: Renewed) => void
  /** `renew`, counted. */
  readonly counted: (what: Renewed, renew: () => Promise<void>) => () => Promise<void>
  /** What fails now, since when and why. */
  readonly reasons: () => readonly string[]
}

const NAMES: Readonly<Record<Renewed, string>> = {
  root: 'the root',
  issuing: 'the state of the CA',
  server: "the CA's own certificate",
  jwt: 'the key for tokens',
}

export function createRenewals(
  metrics: Pick<CaMetrics, 'rotated'>,
  now: () => Temporal.Instant,
): Renewals {
  const failing = new Map<Renewed, { readonly since: Temporal.Instant; readonly why: string }>()
  const taken = (what: Renewed): void => {
    failing.delete(what)
    metrics.rotated(what, 'taken', '')
  }
  const failed = (what: Renewed, cause: unknown): void => {
    const { since = now() } = failing.get(what) ?? {}
    failing.set(what, { since, why: cause instanceof Error ? cause.message : String(cause) })
    metrics.rotated(what, 'failed', cause instanceof CaError ? cause.code : 'UNKNOWN')
  }
  return {
    taken,
    failed,
    works: (what) => void failing.delete(what),
    counted: (what, renew) => async () => {
      try {
        await renew()
      } catch (cause) {
        failed(what, cause)
        throw cause
      }
      taken(what)
    },
    reasons: () =>
      Array.from(
        failing,
        ([what, { since, why }]) => `${NAMES[what]} cannot be kept up since ${since}: ${why}`,
      ),
  }
}
