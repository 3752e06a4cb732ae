/**
 * What one generation of configuration compiled and the next may need again: a policy that an edit did not
 * touch, and the texts of its columns, are not compiled anew. What a generation did not ask for is forgotten.
 */
import type { AuthorizationPolicy } from '../model/index.ts'
import { type Chain, type LineContext, linesOf, type PolicyLine } from './lines.ts'

/** Makes a value at its first use; the same for the same key in this generation and the one before. */
export type Recall = <T>(key: string, make: () => T) => T

/** Kept by whoever compiles one generation after the other. */
export interface CompileMemory {
  /** Begins a generation of `chain`; calling the result's `end` ends it. */
  readonly begin: (chain: Chain) => { readonly recall: Recall; readonly end: () => void }
}

/** A memory without anything in it. */
export function createCompileMemory(): CompileMemory {
  const kept: Record<Chain, ReadonlyMap<string, unknown>> = { http: new Map(), tcp: new Map() }
  return {
    begin(chain) {
      const previous = kept[chain]
      const current = new Map<string, unknown>()
      return {
        recall: <T>(key: string, make: () => T): T => {
          const known = current.has(key) ? current.get(key) : (previous.get(key) ?? make())
          current.set(key, known)
          return known as T
        },
        end: () => {
          kept[chain] = current
        },
      }
    },
  }
}

/** {@link linesOf} that compiles a policy once for as long as it stays what it is. */
export function recalledLines(
  recall: Recall,
): (policy: AuthorizationPolicy, context: LineContext) => readonly PolicyLine[] {
  return (policy, context) => {
    const key = `lines ${context.trustDomains.join()} ${JSON.stringify(policy)}`
    return recall(key, () => linesOf(policy, context))
  }
}
