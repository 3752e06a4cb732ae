/** The way from one root to the next, and keys that are trusted no longer: who is waited for, and why. */
import {
  cancelRotation,
  finishRotation,
  isBelow,
  mustHave,
  promoteRotation,
  type Book,
  revokeKey,
  startRotation,
  taintKey,
  activePair,
} from '../authorities/book.ts'
import { type Authorities, makePair } from '../authorities/open-authorities.ts'
import { CaError } from '../error.ts'
import type { Database } from '../issue/database.ts'
import type { Denials } from '../issue/denials.ts'
import type { Subscriber, Subscribers } from '../serve/subscribers.ts'
import type { SpiffeId } from '../spiffe/index.ts'
import type { TrustBundle } from '../x509/index.ts'
import { type Administrator, type AuditDeps, audited, callRow } from './administrator.ts'
import { isJwtKey, type JwtKeyDeps, stepJwtKey } from './jwt-keys.ts'
import { findLiveLeaves, type LeafQuery, type LiveLeaves } from './live-leaves.ts'

/** In the order in which they are taken; `cancel` in place of the second or the third. */
export const ROTATE_STEPS = ['start', 'promote', 'finish', 'cancel'] as const
export type RotateStep = (typeof ROTATE_STEPS)[number]

export interface RotateDeps extends AuditDeps, JwtKeyDeps {
  readonly authorities: Authorities
  readonly queries: Database
  readonly denials: Pick<Denials, 'deny' | 'lift'>
  readonly bundle: { readonly current: Pick<TrustBundle, 'generation' | 'roots'> }
  readonly subscribers: Pick<Subscribers, 'everyone'>
  /** Whose leaves hold nothing up: the CA's own is renewed at once, an administrator's is used once. */
  readonly transient: readonly SpiffeId[]
}

/** What has become of a step. */
export interface StepOutcome {
  /** Left out: it is done. */
  readonly notYet?: CaError
  /** Who has not acknowledged the bundle that it needs; those who are away are not waited for. */
  readonly laggards: readonly Subscriber[]
  /** What it would cut off. */
  readonly leaves: LiveLeaves
}

const NO_LEAVES: LiveLeaves = { rows: [], count: 0, replaced: 0 }
const DONE: StepOutcome = { laggards: [], leaves: NO_LEAVES }

/**
 * Takes one step of a root rotation, if everybody is ready for it.
 *
 * @param force - Waits for nobody.
 * @throws {CaError} `CA_ROTATION_REFUSED` if it is not the time for this step
 */
export function rotate(
  deps: RotateDeps,
  by: Administrator,
  { step, force }: { readonly step: RotateStep; readonly force: boolean },
): Promise<StepOutcome> {
  const call = { by, action: `rotate-${step}`, arguments: { force } }
  return audited(deps, call, async (done) => {
    const { authorities, ledger, now } = deps
    const held = force ? DONE : await whatHoldsUp(deps, step)
    if (held.notYet) {
      await ledger.record({ calls: [callRow(call, held.notYet.code, now())] })
      return held
    }
    await authorities.step(
      async (book, make) => {
        if (step === 'start') {
          if (book.rotation) return startRotation(book, activePair(book), 0) // says why not
          return startRotation(book, await makePair(make), now().epochMilliseconds)
        }
        return STEPS[step](book)
      },
      [done],
    )
    return held
  })
}

const STEPS = { promote: promoteRotation, finish: finishRotation, cancel: cancelRotation } as const

async function whatHoldsUp(deps: RotateDeps, step: RotateStep): Promise<StepOutcome> {
  await deps.authorities.keepUp() // it is the others' rotation, too
  const { rotation } = deps.authorities.book.current
  if (step === 'promote' && rotation?.phase === 'started') return laggardsFor(deps, rotation.to)
  if (step !== 'finish' || rotation?.phase !== 'promoted') return DONE
  const laggards = await agentsBelow(deps, rotation.from)
  const leaves = await leavesBelow(deps, rotation.from)
  if (leaves.count + laggards.length === 0) return DONE
  return { notYet: notFinished(deps, leaves, laggards.length), laggards, leaves }
}

function notFinished({ now }: RotateDeps, leaves: LiveLeaves, agents: number): CaError {
  const [last] = leaves.rows
  const end = last?.not_after ?? now().epochMilliseconds
  const reasons = [
    leaves.count > 0 &&
      `live leaves chain to the old root: ${leaves.count}, of them replaced already: ${leaves.replaced}, the last ends at ${isoText(end)}`,
    agents > 0 && `agents that show a certificate of the old root: ${agents}`,
  ]
  return new CaError(
    'CA_ROTATION_NOT_YET',
    `Cannot finish the rotation: ${reasons.filter((reason) => reason !== false).join('; ')}`,
    { retryAfterMs: Math.max(1000, end - now().epochMilliseconds) },
  )
}

async function laggardsFor(
  { subscribers, bundle, authorities }: RotateDeps,
  to: string,
): Promise<StepOutcome> {
  const { generation, roots } = bundle.current
  if (!roots.some((root) => isCertificateOf(root, to, authorities.book.current))) {
    const message = 'Cannot promote the next root: it is not in the trust bundle yet'
    return { ...DONE, notYet: new CaError('CA_ROTATION_NOT_YET', message, { retryAfterMs: 1000 }) }
  }
  const laggards = (await subscribers.everyone()).filter((each) => each.generation < generation)
  const late = laggards.filter(({ connected }) => connected)
  if (late.length === 0) return { laggards, leaves: NO_LEAVES }
  const notYet = new CaError(
    'CA_ROTATION_NOT_YET',
    `Cannot promote the next root: ${late.length} agents and proxies have not acknowledged ` +
      `generation ${generation} of the trust bundle, which has it`,
  )
  return { notYet, laggards, leaves: NO_LEAVES }
}

function isCertificateOf(root: Uint8Array, keyId: string, { authorities }: Book): boolean {
  const text = Buffer.from(root).toString('base64')
  return authorities.some((each) => each.keyId === keyId && each.certificate === text)
}

/**
 * Renews everything that a key signed, certificates or tokens.
 *
 * @throws {CaError} `CA_ROTATION_REFUSED` if the CA does not have it, or it is the active root
 */
export function taint(deps: RotateDeps, by: Administrator, keyId: string): Promise<StepOutcome> {
  const call = { by, action: 'taint', arguments: { keyId: keyId.slice(0, MAX_LOGGED) } }
  if (isJwtKey(deps, keyId))
    return jwtOutcome(stepJwtKey(deps, call, ({ taint: step }) => step(keyId)))
  return audited(deps, call, async (done) => {
    await deps.authorities.step(
      async (book, make) => {
        const { state, kind } = mustHave(book, keyId, 'taint')
        const isUsed = kind === 'issuing' && state === 'active'
        return taintKey(book, keyId, isUsed ? await make.issuing(activePair(book).root) : undefined)
      },
      [done],
    )
    return DONE
  })
}

/**
 * Forgets a tainted key of the CA, one for tokens too. An issuing CA's is denied, too, for its root goes on.
 *
 * @param force - Cuts off leaves that have no successor yet.
 * @throws {CaError} `CA_ROTATION_REFUSED` if it is not tainted
 */
export function revokeAuthority(
  deps: RotateDeps,
  by: Administrator,
  { keyId, force }: { readonly keyId: string; readonly force: boolean },
): Promise<StepOutcome> {
  const call = { by, action: 'revoke', arguments: { keyId, force } }
  if (isJwtKey(deps, keyId)) {
    return jwtOutcome(stepJwtKey(deps, call, ({ revoke }) => revoke(keyId, force)))
  }
  return audited(deps, call, async (done) => {
    const { authorities, denials, ledger, now } = deps
    const book = authorities.book.current
    revokeKey(book, keyId) // says why not, before anything is denied
    const leaves = force ? NO_LEAVES : await leavesBelow(deps, keyId, { bare: true })
    const laggards = force ? [] : await agentsBelow(deps, keyId)
    const bare = leaves.count + laggards.length
    if (bare > 0) {
      const notYet = new CaError(
        'CA_ROTATION_NOT_YET',
        `Cannot revoke ${keyId}: ${bare} live leaves that it signed have no successor yet`,
      )
      await ledger.record({ calls: [callRow(call, notYet.code, now())] })
      return { notYet, laggards, leaves }
    }
    // Denied first: what is between the two is repeated by asking again.
    const entry = mustHave(book, keyId, 'revoke')
    const until = Temporal.Instant.fromEpochMilliseconds(entry.notAfter)
    if (entry.kind === 'issuing' && Temporal.Instant.compare(now(), until) < 0) {
      await denials.deny(
        [{ kind: 'key-id', value: keyId, until }],
        callRow({ by, action: 'deny', arguments: { keyId } }, 'done', now()),
      )
    }
    await authorities.step((current) => revokeKey(current, keyId), [done])
    return DONE
  })
}

async function jwtOutcome(step: Promise<CaError | undefined>): Promise<StepOutcome> {
  const notYet = await step
  return { ...DONE, ...(notYet && { notYet }) }
}

/** Characters of a name that somebody asked for. */
const MAX_LOGGED = 128

/** Agents that show a certificate below a key. Of their own leaves those that they show are what counts. */
async function agentsBelow(
  { subscribers }: RotateDeps,
  keyId: string,
): Promise<readonly Subscriber[]> {
  return (await subscribers.everyone()).filter(({ keyIds }) => keyIds.includes(keyId))
}

async function leavesBelow(
  { authorities, queries, transient, now }: RotateDeps,
  keyId: string,
  { bare = false }: Pick<LeafQuery, 'bare'> = {},
): Promise<LiveLeaves> {
  const issuerSerials = serialsBelow(authorities.book.current, keyId)
  const agents = await queries.selectFrom('agents').select('agent_id').execute()
  const except = [...transient, ...agents.map(({ agent_id }) => agent_id)]
  return findLiveLeaves(queries, { issuerSerials, except, now: now(), bare })
}

function serialsBelow(book: Book, keyId: string): readonly string[] {
  const entry = mustHave(book, keyId, 'find leaves of')
  return book.authorities.filter((each) => isBelow(each, entry)).map(({ serial }) => serial)
}

function isoText(epochMs: number): string {
  return String(Temporal.Instant.fromEpochMilliseconds(epochMs))
}
