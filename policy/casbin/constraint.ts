/** A part of a rule as something to be met, with what it reads to say so. */
import type { Connection, HttpAttributes } from '../model/index.ts'

/** What a line is held against: a connection, and the request when it carries HTTP. */
export interface Attempt {
  readonly connection: Connection
  readonly http: HttpAttributes | undefined
}

/** One attribute of an attempt: of the connection, or of the request. */
export type Reads =
  | {
      readonly of: 'connection'
      readonly name: 'peer' | 'sourceIp' | 'destinationIp' | 'destinationPort' | 'sni' | 'nothing'
    }
  | { readonly of: 'request'; readonly name: 'method' | 'path' | 'host' | 'remoteIp' }
  | { readonly of: 'header'; readonly name: string }
  | { readonly of: 'claim'; readonly path: readonly string[] }

/** Part of a rule: what it reads, and whether an attempt meets it. */
export interface Test {
  readonly reads: readonly Reads[]
  readonly meets: (attempt: Attempt) => boolean
}

/** Met when one of `tests` is; of none: never. */
export function anyOf(tests: readonly Test[]): Test {
  const [only] = tests
  if (only !== undefined && tests.length === 1) return only
  return {
    reads: tests.flatMap(({ reads }) => reads),
    meets: (attempt) => tests.some(({ meets }) => meets(attempt)),
  }
}

/** Met when all of `tests` are; of none: always. */
export function allOf(tests: readonly Test[]): Test {
  return {
    reads: tests.flatMap(({ reads }) => reads),
    meets: (attempt) => tests.every(({ meets }) => meets(attempt)),
  }
}

/** Met when the test is not. */
export function not({ reads, meets }: Test): Test {
  return { reads, meets: (attempt) => !meets(attempt) }
}
