import { createHash, randomBytes } from 'node:crypto'

import type { JoinTokenCall } from './messages.ts'

/** A token is used at once; five minutes are for a machine that is short of breath. */
const LIFE = { minutes: 5 }

/** A one-time token for the agent, and what the CA is told of it: its hash, never itself. */
export function makeJoinToken(
  agentId: string,
  scope: readonly string[],
  now: Temporal.Instant,
): { readonly token: string; readonly call: JoinTokenCall } {
  const token = randomBytes(32).toString('base64url')
  const tokenSha256 = createHash('sha256').update(token).digest('hex')
  return { token, call: { tokenSha256, agentId, scope, expiresAt: String(now.add(LIFE)) } }
}
