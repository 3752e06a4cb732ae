import type { NodeState } from './attest/node.ts'
import type { HeldSvid } from './svid/cache.ts'

export interface AgentHealth {
  readonly ready: boolean
  /** Whole sentences without full stop; empty when ready. */
  readonly reasons: readonly string[]
}

/** Share of a certificate's life after which a renewal that has not come is worth an alarm. */
const LATE = 0.6

/** Whether all is in time. A late renewal is told long before anything expires. */
export function healthOf(
  node: NodeState,
  held: readonly HeldSvid[],
  now: Temporal.Instant,
): AgentHealth {
  const reasons: string[] = []
  if (node.kind === 'unattested') reasons.push(`the node is not attested: ${node.reason}`)
  for (const { svid } of held) {
    const { issuedAt, notAfter } = svid.life
    const lifeMs = notAfter.epochMilliseconds - issuedAt.epochMilliseconds
    const ageMs = now.epochMilliseconds - issuedAt.epochMilliseconds
    if (ageMs <= lifeMs * LATE) continue
    reasons.push(`"${svid.id}" has not been renewed: its certificate ends at ${notAfter}`)
  }
  return { ready: reasons.length === 0, reasons }
}
