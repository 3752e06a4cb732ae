/**
 * What one generation of configuration compiled and the next may need again: a policy that an edit did not
 * touch, and the texts of its columns, are not compiled anew. What a generation did not ask for is forgotten.
 */
import type { AuthorizationPolicy } from '../model/index.ts'
import { type Chain, type LineContext, linesOf, type PolicyLine } from './lines.ts'

/** What is remembered: the lines of a policy, by its JSON; what a column means, by its text. */
export type Kind = 'lines' | 'from' | 'to' | 'when'

/** Makes a value at its first use; the same for the same kind and key in this generation and the one before. */
export type Recall = <T>(kind: Kind, key: string, make: () => T) => T

/** Kept by whoever compiles one generation after the other. */
export interface CompileMemory {
  /**
   * Begins a generation of `context.chain`; calling the result's `end` ends it. What was made in
   * another context is not recalled.
   */
  readonly begin: (context: LineContext) => { readonly recall: Recall; readonly end: () => void }
}

interface Kept {
  /** The context, as JSON. */
  readonly of: string
  readonly values: Readonly<Record<Kind, Map<string, unknown>>>
}

/** A memory without anything in it. */
export function createCompileMemory(): CompileMemory {
  const kept: Record<Chain, Kept> = { http: nothing(''), tcp: nothing('') }
  return {
    begin(context) {
      const { chain } = context
      const current = nothing(JSON.stringify(context))
      const previous = kept[chain].of === current.of ? kept[chain] : nothing(current.of)
      return {
        recall<T>(kind: Kind, key: string, make: () => T): T {
          const [now, before] = [current.values[kind], previous.values[kind]]
          const known = now.get(key) ?? before.get(key) ?? make()
          now.set(key, known)
          return known as T
        },
        end: () => {
          kept[chain] = current
        },
      }
    },
  }
}

function nothing(of: string): Kept {
  return { of, values: { lines: new Map(), from: new Map(), to: new Map(), when: new Map() } }
}

/** {@link linesOf} that compiles a policy once for as long as it stays what it is. */
export function recalledLines(
  recall: Recall,
): (policy: AuthorizationPolicy, context: LineContext) => readonly PolicyLine[] {
  return (policy, context) =>
    recall('lines', JSON.stringify(policy), () => linesOf(policy, context))
}
