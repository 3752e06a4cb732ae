/** Which issuers' tokens a workload takes, and with which keys (istio-semantics §3). */
import type { Intent, ObjectRef, WorkloadInstance } from '../model/intent.ts'
import type { JwtRule } from '../model/request-authentication.ts'
import type { TokenKeys, TokenRule } from '../model/token-rule.ts'
import { byAge, compareText, selects } from './select.ts'

/** The key set that was fetched for a rule; `undefined`: there is none. */
export type KeySetOf = (rule: JwtRule) => string | undefined

/** Claims that are lists of words whatever a rule says (§3.1). */
export const SPACE_DELIMITED_CLAIMS: readonly string[] = ['permission', 'scope']

/**
 * Rules of all objects that apply, by issuer; of one issuer, those of the workload's namespace before the
 * root's, and of the oldest object first. The order tells which of several refusals a caller hears of, and
 * Istio's is this.
 */
export function assembleTokenRules(
  { requestAuthentications, mesh }: Pick<Intent, 'requestAuthentications' | 'mesh'>,
  workload: Pick<WorkloadInstance, 'namespace' | 'labels'>,
  keySetOf: KeySetOf,
): readonly TokenRule[] {
  const isRoots = ({ namespace }: ObjectRef): number => Number(namespace !== workload.namespace)
  return requestAuthentications
    .filter(({ targeted }) => !targeted)
    .filter(({ namespace }) => [workload.namespace, mesh.rootNamespace].includes(namespace))
    .filter(({ selector }) => selects(selector, workload.labels))
    .toSorted((one, other) => isRoots(one) - isRoots(other) || byAge(one, other))
    .flatMap(({ jwtRules }) => jwtRules.map((rule) => tokenRuleOf(rule, keySetOf)))
    .toSorted((one, other) => compareText(one.issuer ?? '', other.issuer ?? ''))
}

function tokenRuleOf(rule: JwtRule, keySetOf: KeySetOf): TokenRule {
  const { issuer, audiences, outputPayloadToHeader } = rule
  return {
    ...(issuer === undefined ? {} : { issuer }),
    // In a manifest no audiences are any; from here on an empty list would be nobody.
    ...(audiences.length === 0 ? {} : { audiences }),
    keys: keysOf(rule, keySetOf),
    fromHeaders: rule.fromHeaders.map(({ name, prefix }) => ({ name: name.toLowerCase(), prefix })),
    fromParams: rule.fromParams,
    fromCookies: rule.fromCookies,
    forwardOriginalToken: rule.forwardOriginalToken,
    ...(outputPayloadToHeader === undefined
      ? {}
      : { outputPayloadToHeader: outputPayloadToHeader.toLowerCase() }),
    outputClaimToHeaders: rule.outputClaimToHeaders.map(({ header, claim }) => ({
      header: header.toLowerCase(),
      claim,
    })),
    spaceDelimitedClaims: [...new Set([...SPACE_DELIMITED_CLAIMS, ...rule.spaceDelimitedClaims])],
  }
}

function keysOf(rule: JwtRule, keySetOf: KeySetOf): TokenKeys {
  if (rule.jwks !== undefined) return { kind: 'inline', jwks: withoutPrivate(rule.jwks) }
  const jwks = keySetOf(rule)
  return jwks === undefined ? { kind: 'missing' } : { kind: 'fetched', jwks: withoutPrivate(jwks) }
}

/** Members of private keys (RFC 7518 §6). */
const PRIVATE = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth']

/** A key set as sidecars get it: who verifies needs no private key, and could forge with one. */
function withoutPrivate(jwks: string): string {
  const mayHold = jwks.includes('\\') || PRIVATE.some((member) => jwks.includes(`"${member}"`))
  if (!mayHold) return jwks
  try {
    return JSON.stringify(
      JSON.parse(jwks, (key, value) => (PRIVATE.includes(key) ? undefined : value)),
    )
  } catch {
    return '' // no JSON: no keys, here or there
  }
}
