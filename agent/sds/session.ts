import type { SpiffeId } from '#ca/spiffe/index.ts'
import type { Clock } from '#core/clock.ts'
import type { Callers, CallerSession } from '../callers.ts'
import { AgentError } from '../error.ts'
import {
  type WatchIdentityDeps,
  type WorkloadIdentity,
  watchIdentity,
} from '../svid/watch-identity.ts'
import { SECRET_TYPE } from './to-proto.ts'

export interface SdsDeps extends WatchIdentityDeps {
  readonly callers: Callers
  readonly clock: Clock
  readonly refused: (api: 'sds', cause: unknown) => void
  /** Told of each NACK. */
  readonly rejected: (id: SpiffeId, version: string, reason: string) => void
  /** Told of each request that answers to another response than the last. */
  readonly stale: (id: SpiffeId, nonce: string) => void
}

/** What a stream's driver works with: who calls, what it may have now, and what it may have next. */
export interface SecretSession {
  readonly id: SpiffeId
  readonly first: WorkloadIdentity
  readonly next: AsyncGenerator<WorkloadIdentity, void>
  readonly caller: CallerSession
}

/** Names in one request; a workload may have five. */
const MAX_NAMES = 64

/**
 * Identifies the caller and waits for its first SVID.
 *
 * @throws {AgentError} `AGENT_PEER_UNKNOWN`, `AGENT_OVERLOADED`, `AGENT_ISSUE_REFUSED`, or
 *   `AGENT_CA_UNAVAILABLE` if the session ends before there is one
 */
export async function openSession(deps: SdsDeps, caller: CallerSession): Promise<SecretSession> {
  const id = await caller.identify()
  const next = watchIdentity(deps, id, caller.signal)
  const first = await next.next()
  if (first.done)
    throw new AgentError('AGENT_CA_UNAVAILABLE', 'Cannot answer: there is no SVID yet')
  return { id, first: first.value, next, caller }
}

/** @throws {AgentError} `AGENT_REQUEST_INVALID` for another type than secrets, or too many names */
export function checkRequest(typeUrl: string, names: readonly string[]): void {
  const refused = (why: string): AgentError =>
    new AgentError('AGENT_REQUEST_INVALID', `Cannot answer: ${why}`)
  if (typeUrl !== '' && typeUrl !== SECRET_TYPE) {
    throw refused(`type_url is ${JSON.stringify(typeUrl)}, expected "${SECRET_TYPE}"`)
  }
  if (names.length > MAX_NAMES) {
    throw refused(`it has ${names.length} names, expected at most ${MAX_NAMES}`)
  }
}
