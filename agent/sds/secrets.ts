import { trustDomainOf } from '#ca/spiffe/index.ts'
import { AgentError } from '../error.ts'
import type { WorkloadIdentity } from '../svid/watch-identity.ts'

/** What a secret's bytes depend on: two with one version are the same. */
export interface SecretRef {
  readonly name: string
  readonly kind: 'certificate' | 'validation'
  readonly version: string
}

/** Names that stand for something whatever the identity is called (as SPIRE's agent has them). */
const DEFAULT_SVID = 'default'
export const DEFAULT_BUNDLE = 'ROOTCA'
const ALL_BUNDLES = 'ALL'

/**
 * All that a workload may have under each name that it may use for it, by name. With no name asked
 * for, only its own two that are IDs are given, so that nothing is sent twice.
 */
export function secretsOf({ svid, bundle }: WorkloadIdentity): ReadonlyMap<string, SecretRef> {
  const trustDomainId = `spiffe://${trustDomainOf(svid.id)}`
  const certificate = { kind: 'certificate', version: svid.serial } as const
  const validation = { kind: 'validation', version: `g${bundle.generation}` } as const
  const refs: readonly SecretRef[] = [
    { name: svid.id, ...certificate },
    { name: DEFAULT_SVID, ...certificate },
    { name: trustDomainId, ...validation },
    { name: DEFAULT_BUNDLE, ...validation },
    { name: ALL_BUNDLES, ...validation },
    ...(bundle.federated ?? []).map((one) => ({
      name: `spiffe://${one.trustDomain}`,
      ...validation,
    })),
  ]
  return new Map(refs.map((ref) => [ref.name, ref]))
}

/** What an empty list of names, or the wildcard, stands for. */
export function everyName({ svid }: WorkloadIdentity): readonly string[] {
  return [svid.id, `spiffe://${trustDomainOf(svid.id)}`]
}

/**
 * The secrets under `names`: certificates first, then validation contexts, each in the order of
 * {@link secretsOf}; duplicates count once.
 *
 * @throws {AgentError} `AGENT_REQUEST_INVALID` listing, sorted, the names it may not have: one
 *   such name refuses the whole request
 */
export function selectSecrets(
  names: readonly string[],
  identity: WorkloadIdentity,
): readonly SecretRef[] {
  const secrets = secretsOf(identity)
  const wanted = new Set(names.length === 0 ? everyName(identity) : names)
  const refused = [...wanted].filter((name) => !secrets.has(name)).sort()
  if (refused.length > 0) {
    throw new AgentError(
      'AGENT_REQUEST_INVALID',
      `Cannot give the secrets asked for: "${identity.svid.id}" may not have ${JSON.stringify(refused)}`,
    )
  }
  return [...secrets.values()].filter(({ name }) => wanted.has(name))
}

/** One version for a selection: it changes when any part of it does, and with nothing else. */
export function versionOf(refs: readonly SecretRef[]): string {
  return [...new Set(refs.map(({ version }) => version))].join('.')
}
