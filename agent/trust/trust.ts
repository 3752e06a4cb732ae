import {
  applyDenyChanges,
  compileDenyList,
  type DenyChanges,
  type DenyList,
  NO_DENIALS,
  type TrustBundle,
} from '#ca/x509/index.ts'
import { createLive, type Watched } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import { AgentError } from '../error.ts'

/** What a process judges its peers by: roots, and what is denied although they vouch for it. */
export interface Trust {
  readonly bundle: Watched<TrustBundle>
  readonly denials: Watched<DenyList>
  /** Both of now, as one thing to judge by. */
  readonly current: () => TrustBundle
}

/** The end of a {@link Trust} that its owner keeps. */
export interface TrustSource extends Trust {
  /**
   * Puts both in force. What is not in order leaves what was there in force.
   *
   * @throws {AgentError} `AGENT_BUNDLE_INVALID` if something between the two deny-lists is missing
   */
  readonly take: (bundle: TrustBundle, changes: DenyChanges) => void
}

export interface TrustDeps {
  readonly now: () => Temporal.Instant
  readonly log: Log
}

export function createTrust(first: TrustBundle, { now, log }: TrustDeps): TrustSource {
  const bundles = createLive(first)
  const lists = createLive(NO_DENIALS)
  let current = first

  const takeDenials = (changes: DenyChanges): void => {
    const list = applied(lists.live.current, changes, now())
    if (list.generation === lists.live.current.generation && changes.entries.length === 0) return
    current = { ...current, denies: compileDenyList(list) }
    log('info', 'deny-list-taken', { generation: list.generation, entries: list.entries.length })
    lists.set(list)
  }
  const takeBundle = (bundle: TrustBundle): void => {
    if (isSame(bundles.live.current, bundle)) return
    current = { ...bundle, denies: current.denies }
    log('info', 'bundle-taken', { generation: bundle.generation, roots: bundle.roots.length })
    bundles.set(bundle)
  }
  return {
    bundle: bundles.live,
    denials: lists.live,
    current: () => current,
    take(bundle, changes) {
      takeDenials(changes) // First: what has become trusted may hold what is denied.
      takeBundle(bundle)
    },
  }
}

function applied(list: DenyList, changes: DenyChanges, now: Temporal.Instant): DenyList {
  try {
    return applyDenyChanges(list, changes, now)
  } catch (cause) {
    throw new AgentError(
      'AGENT_BUNDLE_INVALID',
      `Cannot take the deny-list: ${(cause as Error).message}`,
      { cause },
    )
  }
}

/** The same generation with the same roots need not wake every stream. */
function isSame(a: TrustBundle, b: TrustBundle): boolean {
  return (
    a.generation === b.generation &&
    a.roots.length === b.roots.length &&
    String(a.renewKeys ?? []) === String(b.renewKeys ?? []) &&
    (a.federated ?? []).length === (b.federated ?? []).length &&
    a.roots.every((root, index) => Buffer.compare(root, b.roots[index] ?? root.subarray(1)) === 0)
  )
}
