/** What verifies the tokens of requests that `authz` commands ask about: the code that a sidecar runs. */
import type { Intent, Tokens } from '#policy/index.ts'
import { type CommandOption, flagOption, type Input, type Io } from './command.ts'

export const FETCH_OPTION: CommandOption = {
  flags: '--fetch',
  summary: 'fetch the key sets that RequestAuthentications name by URI',
}

/**
 * The tokens of `intent`: its keys are those in the manifests and, with `--fetch`, those at their URIs.
 * Without a RequestAuthentication nothing that verifies is loaded.
 *
 * @throws {PolicyError} `POLICY_FETCH_FAILED`
 */
export async function tokensOf(
  io: Io,
  input: Input,
  { requestAuthentications, mesh }: Intent,
  signal: AbortSignal,
): Promise<Tokens | undefined> {
  const rules = requestAuthentications.flatMap(({ jwtRules }) => jwtRules)
  if (rules.length === 0) return undefined
  const { compileTokenRules } = await import('#ca/jwt/request/index.ts')
  const { fetchKeySet, keySetName } = await import('#policy/index.ts')
  const sets = new Map<string, string>()
  for (const rule of flagOption(input, 'fetch') ? rules : []) {
    const name = keySetName(rule)
    if (name === undefined || sets.has(name)) continue
    const { timeoutMs } = rule
    const { jwks } = mesh
    sets.set(name, await fetchKeySet({ name, timeoutMs, jwks, clock: io.clock }, signal))
  }
  return {
    compile: (some) => compileTokenRules(some, { now: io.now }),
    keySetOf: (rule) => sets.get(keySetName(rule) ?? ''),
  }
}
