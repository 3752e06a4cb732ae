import type { NodeState } from './attest/node.ts'
import type { WaitingIdentity } from './svid/cache.ts'
import type { HeldSvid } from './svid/rotation.ts'

export interface AgentHealth {
  readonly ready: boolean
  /** Whole sentences without full stop; empty when ready. */
  readonly reasons: readonly string[]
}

/** What health is told from. */
export interface HealthInput {
  readonly node: NodeState
  readonly held: readonly HeldSvid[]
  readonly waiting: readonly WaitingIdentity[]
  /** See `ClockSkew.reason`. */
  readonly skew: string | undefined
  /** See `ProofWatch.reason`. */
  readonly proof: string | undefined
}

/** Share of a certificate's life after which a renewal that has not come is worth an alarm. */
const LATE = 0.6

/** Identities that are told one by one; of a node with hundreds, the first say it all. */
const MAX_TOLD = 10

/** Whether all is in time. A late renewal is told long before anything expires. */
export function healthOf(
  { node, held, waiting, skew, proof }: HealthInput,
  now: Temporal.Instant,
): AgentHealth {
  const isUnattested = node.kind === 'unattested'
  const identities = [
    ...(node.kind === 'attested' && isLate(node.svid.life, now)
      ? [`this node's own certificate has not been renewed: it ends at ${node.svid.life.notAfter}`]
      : []),
    ...waiting.map(({ id, reason }) => `"${id}" has no certificate: ${reason}`),
    ...held
      .filter(({ svid }) => isLate(svid.life, now))
      .map(
        ({ svid }) =>
          `"${svid.id}" has not been renewed: its certificate ends at ${svid.life.notAfter}`,
      ),
  ]
  const reasons = [
    ...(isUnattested ? [`the node is not attested: ${node.reason}`] : []),
    ...(skew === undefined ? [] : [skew]),
    ...(proof === undefined ? [] : [proof]),
    ...identities.slice(0, MAX_TOLD),
    ...(identities.length > MAX_TOLD ? [`and ${identities.length - MAX_TOLD} more`] : []),
  ]
  return { ready: reasons.length === 0, reasons }
}

function isLate({ issuedAt, notAfter }: HeldSvid['svid']['life'], now: Temporal.Instant): boolean {
  const lifeMs = notAfter.epochMilliseconds - issuedAt.epochMilliseconds
  return now.epochMilliseconds - issuedAt.epochMilliseconds > lifeMs * LATE
}
