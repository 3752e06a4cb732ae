import type { NamePattern } from '#policy/model/index.ts'

/** Whether a header name, in lower case, is one of a list. */
export type NameMatch = (name: string) => boolean

/** Compiles patterns; an empty list has no name. */
export function compileNames(patterns: readonly NamePattern[]): NameMatch {
  const exact = new Set(patterns.flatMap(({ kind, value }) => (kind === 'exact' ? [value] : [])))
  const prefixes = patterns.flatMap(({ kind, value }) => (kind === 'prefix' ? [value] : []))
  const suffixes = patterns.flatMap(({ kind, value }) => (kind === 'suffix' ? [value] : []))
  return (name) =>
    exact.has(name) ||
    prefixes.some((prefix) => name.startsWith(prefix)) ||
    suffixes.some((suffix) => name.endsWith(suffix))
}
