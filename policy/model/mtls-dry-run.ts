/** What a PeerAuthentication that is tried out would have done with a connection, told with its decisions. */
import type { Connection } from './attempt.ts'
import type { MtlsDryRun } from './bundle.ts'
import type { Decide, Decision, DryRunResult } from './decision.ts'

/** Adds to what `decide` says of `connection`. Decisions come back from a cache: what is added to one is added once. */
export type TellMtlsDryRun = (decide: Decide, connection: Connection) => Decide

/** For one port in one version of the configuration. */
export function createMtlsDryRun({ mode, policy }: MtlsDryRun): TellMtlsDryRun {
  const told = { allowed: createTold(), denied: createTold() }
  function createTold(): (decision: Decision, result: DryRunResult) => Decision {
    const known = new WeakMap<Decision, Decision>()
    return (decision, result) => {
      const before = known.get(decision)
      if (before !== undefined) return before
      const after = withResult(decision, result)
      known.set(decision, after)
      return after
    }
  }
  return (decide, { peer }) => {
    const isRefused = peer === undefined ? mode === 'STRICT' : mode === 'DISABLE'
    const result = isRefused ? 'denied' : 'allowed'
    const entry: DryRunResult = { policy, action: mode, result, rule: null }
    return (http) => told[result](decide(http), entry)
  }
}

function withResult(decision: Decision, result: DryRunResult): Decision {
  const dryRun = [...decision.dryRun, result]
  if (decision.kind !== 'ask') return { ...decision, dryRun }
  return { ...decision, dryRun, proceed: () => withResult(decision.proceed(), result) }
}
