/** Leaves from an authority that has no listener. */
import { CaError } from '#ca/index.ts'
import { issueBatch } from '#ca/issue/issue-batch.ts'
import type { OpenAuthority } from '#ca/open-authority.ts'
import { parseSpiffeId } from '#ca/spiffe/index.ts'
import { agentId, newCsr, trustDomain } from './harness.ts'

const serverId = parseSpiffeId('spiffe://prod.example/ns/redoubt-system/sa/redoubt-ca')
const leafTtl = Temporal.Duration.from({ hours: 1 })
const rules = { trustDomain, serverId, adminId: undefined, leafTtl, maxLeafTtl: leafTtl }
const limit = { take: (_: unknown, granted: number) => ({ granted, retryAfterMs: 0 }) }
const caller = { id: agentId, scope: ['spiffe://prod.example/ns/pay/*'] }
const csrDer = newCsr()

/** `count` of them, for workloads w0, w1, … of the namespace pay. */
export async function issueFrom(
  authority: OpenAuthority,
  count: number,
  now: () => Temporal.Instant,
  ttlSeconds = 0,
): Promise<readonly { readonly serial: string; readonly chain: readonly Uint8Array[] }[]> {
  const requests = Array.from({ length: count }, (_, at) => ({
    spiffeId: `spiffe://prod.example/ns/pay/sa/w${at}`,
    csrDer,
    ttlSeconds,
  }))
  const results = await issueBatch({ ...authority, rules, limit, now }, caller, requests)
  return results.map((result) => {
    if (result instanceof CaError) throw result
    return result
  })
}
