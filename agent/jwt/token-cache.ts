import { LRUCache } from 'lru-cache'
import type { SpiffeId } from '#ca/spiffe/index.ts'
import type { TrustBundle } from '#ca/x509/index.ts'
import type { Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import { maxWaitMs } from '../svid/keep-fresh.ts'
import type { IssuedToken } from './issued-token.ts'

/** Tokens of this node's workloads. */
export interface TokenCache {
  /**
   * A token of `id` for `audience`, with at least half of its life left unless the CA is away.
   *
   * @throws {AgentError} `AGENT_ISSUE_REFUSED`, `AGENT_CA_UNAVAILABLE`, `AGENT_JWT_INVALID`
   */
  readonly get: (id: SpiffeId, audience: readonly string[]) => Promise<IssuedToken>
  /** Gives out no token of such an identity any more that was issued before. */
  readonly forget: (isBad: (id: SpiffeId) => boolean) => void
  /** Tokens held now. */
  readonly size: () => number
}

export interface TokenCacheDeps {
  readonly now: () => Temporal.Instant
  readonly log: Log
  readonly bundle: Live<TrustBundle>
  readonly issue: (id: SpiffeId, audience: readonly string[]) => Promise<IssuedToken>
}

/** Tokens at once; the least recently used goes first. One has some 400 bytes. */
export const MAX_TOKENS = 4096

interface Entry {
  readonly id: SpiffeId
  readonly token: IssuedToken
  /** Epoch milliseconds before which a failed renewal is not tried again. */
  retryAt: number
}

/**
 * One fetch for each identity and audience, however many ask. A token is renewed by the first who
 * asks for it after half of its life, or once its key is tainted; while the CA is away it is given out
 * until its end. One whose key has left the bundle is forgotten at once.
 */
export function createTokenCache(deps: TokenCacheDeps): TokenCache {
  const { now, log, bundle, issue } = deps
  const entries = new LRUCache<string, Entry>({ max: MAX_TOKENS })
  const running = new Map<string, Promise<IssuedToken>>()

  const fetch = (key: string, id: SpiffeId, audience: readonly string[]): Promise<IssuedToken> => {
    const begun = running.get(key)
    if (begun) return begun
    const fetching = issue(id, audience)
      .then((token) => {
        entries.set(key, { id, token, retryAt: 0 })
        return token
      })
      .finally(() => running.delete(key))
    running.set(key, fetching)
    return fetching
  }

  return {
    size: () => entries.size,
    forget(isBad) {
      for (const [key, { id }] of entries) if (isBad(id)) entries.delete(key)
    },
    async get(id, audience) {
      const key = JSON.stringify([id, ...audience.toSorted()])
      const held = entries.get(key)
      const nowMs = now().epochMilliseconds
      const state = held && stateOf(held.token, bundle.current, nowMs)
      if (!held || state === 'dead') return fetch(key, id, audience)
      if (state === 'fresh' || nowMs < held.retryAt) return held.token
      try {
        return await fetch(key, id, audience)
      } catch (cause) {
        log('warn', 'token-renewal-failed', { id, cause: String(cause) })
        // It may have ended while we tried.
        if (stateOf(held.token, bundle.current, now().epochMilliseconds) === 'dead') throw cause
        held.retryAt = nowMs + maxWaitMs(lifeOf(held.token))
        return held.token
      }
    },
  }
}

function lifeOf({ issuedAt, expiresAt }: IssuedToken) {
  return { issuedAt, notAfter: expiresAt }
}

function stateOf(
  { issuedAt, expiresAt, kid }: IssuedToken,
  { jwtKeys = [], renewKeys = [] }: TrustBundle,
  nowMs: number,
): 'fresh' | 'due' | 'dead' {
  const isVouchedFor = jwtKeys.some((key) => key.kid === kid)
  if (!isVouchedFor || nowMs >= expiresAt.epochMilliseconds) return 'dead'
  if (renewKeys.includes(kid)) return 'due'
  const half = (issuedAt.epochMilliseconds + expiresAt.epochMilliseconds) / 2
  return nowMs < half ? 'fresh' : 'due'
}
