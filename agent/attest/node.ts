import type { SpiffeId } from '#ca/spiffe/index.ts'
import { backoff } from '#core/backoff.ts'
import { createLive, type Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import type { AuthorityConnection } from '../authority/connection.ts'
import { AgentError } from '../error.ts'
import {
  acceptSvid,
  createRequest,
  type IssuedSvid,
  type SvidRequest,
} from '../svid/issued-svid.ts'
import { createAlarms } from '../svid/alarms.ts'
import { HURRY_MS, hurryDelayMs, keepFresh } from '../svid/keep-fresh.ts'
import type { CivilClock } from '../svid/sleep-until.ts'
import type { ClockSkew } from '../clock-skew.ts'
import type { TrustSource } from '../trust/trust.ts'
import type { NodeProof } from './evidence.ts'

/** What this node is to the CA. */
export type NodeState =
  | { readonly kind: 'unattested'; readonly reason: string }
  | {
      readonly kind: 'attested'
      readonly svid: IssuedSvid
      readonly renewAt: Temporal.Instant
      readonly connection: AuthorityConnection
    }

export interface Node {
  readonly state: Live<NodeState>
  /**
   * Proves the node; tries until the CA is there.
   *
   * @throws {AgentError} `AGENT_ATTESTATION_REFUSED` if the CA does not take the proof
   */
  readonly attest: (proof: NodeProof, signal: AbortSignal) => Promise<void>
  /** Takes the CA at its word that it does not know this node (any more). */
  readonly disown: (reason: string) => void
  /** Renews its own SVID soon, because the CA has left the key that signed it. */
  readonly renew: () => void
}

export interface NodeDeps extends CivilClock {
  readonly agentId: SpiffeId
  readonly ownTtl: Temporal.Duration
  readonly random: () => number
  readonly log: Log
  readonly trust: TrustSource
  readonly skew: Pick<ClockSkew, 'note'>
  /** Opens a channel to the CA that proves `own`, or nothing. */
  readonly connect: (own: IssuedSvid | undefined) => AuthorityConnection
  readonly issue: (request: SvidRequest) => Promise<IssuedSvid>
  readonly failed: (cause: unknown) => void
}

/**
 * The agent's own identity: attested, then renewed by its certificate at half life.
 * Each renewal opens a new channel, so that no channel outlives the certificate it was opened with.
 *
 * @param signal - Ends renewal and closes the channel.
 */
export function createNode(deps: NodeDeps, signal: AbortSignal): Node {
  const { agentId, ownTtl, trust, connect, clock, random, now, issue, log, failed } = deps
  const state = createLive<NodeState>({ kind: 'unattested', reason: 'it has not attested yet' })
  let renewal = new AbortController()
  let hurry = new AbortController()
  const alarms = createAlarms(deps, signal)

  const close = (): void => {
    const { current } = state.live
    if (current.kind === 'attested') current.connection[Symbol.dispose]()
  }
  signal.addEventListener('abort', close, { once: true })

  const disown = (reason: string): void => {
    renewal.abort()
    close()
    // Of a refused call what the CA says is what tells; it says what to do, too.
    const [, why = reason] = /Cannot answer the caller: (.*)$/.exec(reason) ?? []
    state.set({ kind: 'unattested', reason: why })
    log('error', 'node-unattested', { reason: why })
  }

  const keep = (first: IssuedSvid): void => {
    renewal.abort()
    renewal = new AbortController()
    const fresh = {
      ...deps,
      alarms,
      fetch: async () => issue(await createRequest(agentId, ownTtl)),
      failed,
      accept(svid: IssuedSvid, renewAt: Temporal.Instant) {
        hurry = new AbortController()
        const { current } = state.live
        state.set({ kind: 'attested', svid, renewAt, connection: connect(svid) })
        if (current.kind === 'attested') current.connection[Symbol.dispose]()
        log('info', 'node-svid-taken', {
          serial: svid.serial,
          notAfter: String(svid.life.notAfter),
        })
        return hurry.signal
      },
      expired: () => disown('its own SVID ran out before the CA renewed it'),
    }
    const ended = AbortSignal.any([signal, renewal.signal])
    keepFresh(fresh, first, ended).catch((cause: unknown) => {
      if (!ended.aborted) log('error', 'node-renewal-ended', { cause: String(cause) })
    })
  }

  return {
    state: state.live,
    disown,
    renew() {
      const { current } = state.live
      if (current.kind !== 'attested') return
      const { signal: replaced } = hurry
      const due = hurry
      const waitMs = hurryDelayMs(current.svid.life, random(), HURRY_MS.node)
      clock.sleep(waitMs, AbortSignal.any([signal, replaced])).then(
        () => due.abort(),
        () => undefined, // it ends before
      )
    },
    async attest(proof, until) {
      const either = AbortSignal.any([signal, until])
      using connection = connect(undefined)
      const request = await createRequest(agentId)
      const { answer, bundle, denials } = await prove(
        ...([deps, connection, { proof, request }, either] as const),
      )
      // The CA was verified by the roots that we were started with, so its bundle may replace them.
      const isOlder = bundle.generation < trust.bundle.current.generation
      trust.take(isOlder ? trust.bundle.current : bundle, denials)
      keep(acceptSvid(request, answer, { bundles: [trust.current()], now: now() }))
    },
  }
}

async function prove(
  { clock, now, random, log, skew, failed }: NodeDeps,
  connection: AuthorityConnection,
  { proof, request }: { readonly proof: NodeProof; readonly request: SvidRequest },
  signal: AbortSignal,
): ReturnType<AuthorityConnection['attest']> {
  const waits = backoff({ baseMs: 50, maxMs: 2000, random })
  for (;;) {
    try {
      const asked = now()
      const proved = await connection.attest(proof, request, signal)
      skew.note(proved.answer.issuedAt, asked, now())
      return proved
    } catch (cause) {
      signal.throwIfAborted()
      failed(cause)
      if (cause instanceof AgentError && cause.code !== 'AGENT_CA_UNAVAILABLE') {
        throw new AgentError(
          'AGENT_ATTESTATION_REFUSED',
          `Cannot attest this node: ${cause.message}`,
          { cause },
        )
      }
      const waitMs = waits.next().value
      log('warn', 'node-attestation-failed', { waitMs, cause: String(cause) })
      await clock.sleep(waitMs, signal)
    }
  }
}
