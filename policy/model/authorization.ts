/**
 * AuthorizationPolicy after its dialect has been forgotten.
 *
 * Values keep Istio's notation (`*`, `text*`, `*text`, `{*}` templates, CIDRs): it is the notation
 * that other dialects translate into, it crosses the wire without loss, and explanations quote it.
 * What each field compares, and how, is `istio-semantics` §1.4–§1.9.
 */

export type Action = 'ALLOW' | 'DENY' | 'CUSTOM' | 'AUDIT'

/** Who: all fields that are set must match; within one, any value (§1.2). */
export interface Source {
  readonly principals?: readonly string[]
  readonly notPrincipals?: readonly string[]
  readonly requestPrincipals?: readonly string[]
  readonly notRequestPrincipals?: readonly string[]
  readonly namespaces?: readonly string[]
  readonly notNamespaces?: readonly string[]
  /** `account` (in the policy's namespace) or `namespace/account`. */
  readonly serviceAccounts?: readonly string[]
  readonly notServiceAccounts?: readonly string[]
  readonly ipBlocks?: readonly string[]
  readonly notIpBlocks?: readonly string[]
  readonly remoteIpBlocks?: readonly string[]
  readonly notRemoteIpBlocks?: readonly string[]
  readonly trustDomains?: readonly string[]
  readonly notTrustDomains?: readonly string[]
}

/** What: as {@link Source}. Ports are workload ports, in decimal. */
export interface Operation {
  readonly hosts?: readonly string[]
  readonly notHosts?: readonly string[]
  readonly ports?: readonly string[]
  readonly notPorts?: readonly string[]
  readonly methods?: readonly string[]
  readonly notMethods?: readonly string[]
  readonly paths?: readonly string[]
  readonly notPaths?: readonly string[]
}

/** One `when` entry; a key of §1.7. With both lists, both must hold. */
export interface Condition {
  readonly key: string
  readonly values?: readonly string[]
  readonly notValues?: readonly string[]
}

/**
 * Matches when some `from`, some `to` and every `when` match. A field left out does not constrain;
 * an empty list matches nothing. No step may turn one into the other.
 */
export interface Rule {
  readonly from?: readonly Source[]
  readonly to?: readonly Operation[]
  readonly when?: readonly Condition[]
}

export interface AuthorizationPolicy {
  readonly namespace: string
  readonly name: string
  readonly action: Action
  /** The extension provider's name; set exactly when `action` is `CUSTOM`. */
  readonly provider?: string
  /** Evaluated and reported, never enforced (annotation `istio.io/dry-run`, §1.10). */
  readonly dryRun: boolean
  /** No rules: never matches (an ALLOW policy then denies everything). */
  readonly rules: readonly Rule[]
}
