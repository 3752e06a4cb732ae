import type { TextMatch } from '#policy/model/index.ts'
import { ProxyError } from '../error.ts'

/** Answers whether a text is what a route asks for. */
export type TextTest = (text: string) => boolean

/** Compiles an expression of RE2 into a test of the whole text; throws what the engine throws. */
export type CompileRegex = (pattern: string) => TextTest

/**
 * Loads the engine for regular expressions. Late, because most sidecars have no route that needs
 * it; it takes linear time whatever an operator wrote and whatever a client sends.
 */
export async function loadRegex(): Promise<CompileRegex> {
  const { RE2JS } = await import('re2js')
  return (pattern) => {
    const compiled = RE2JS.compile(pattern)
    return (text) => compiled.testExact(text)
  }
}

/**
 * Compiles one match on a text that is there (istio-semantics §5.4).
 *
 * @param ignoreCase - for `exact` and `prefix`; a regular expression says it itself
 * @throws {ProxyError} `PROXY_CONFIG_INVALID` on an expression that is not RE2
 */
export function compileTextMatch(
  match: TextMatch,
  { regex, ignoreCase = false }: { readonly regex: CompileRegex; readonly ignoreCase?: boolean },
): TextTest {
  switch (match.kind) {
    case 'exact': {
      const { value } = match
      if (!ignoreCase) return (text) => text === value
      const lower = value.toLowerCase()
      return (text) => text.toLowerCase() === lower
    }
    case 'prefix': {
      const { value } = match
      if (!ignoreCase) return (text) => text.startsWith(value)
      const lower = value.toLowerCase()
      return (text) => text.slice(0, value.length).toLowerCase() === lower
    }
    case 'regex':
      return compileExpression(match.value, regex)
    case 'present':
      return () => true
    default:
      return match satisfies never
  }
}

function compileExpression(pattern: string, regex: CompileRegex): TextTest {
  try {
    return regex(pattern)
  } catch (cause) {
    throw new ProxyError(
      'PROXY_CONFIG_INVALID',
      `Cannot match by ${JSON.stringify(pattern)}: ${cause instanceof Error ? cause.message : String(cause)}, expected RE2 syntax`,
      { cause },
    )
  }
}
