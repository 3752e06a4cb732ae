/** Keeps the bundles of other trust domains current, and forgets them when they are believed no longer. */
import { backoff } from '#core/backoff.ts'
import type { Clock } from '#core/clock.ts'
import type { Log } from '#core/log.ts'
import { CaError } from '../error.ts'
import type { StateDir } from '../keys/state-dir.ts'
import { type TrustDomain, trustDomainOf } from '../spiffe/index.ts'
import type { TrustBundle } from '../x509/index.ts'
import { type BundleDocument, readBundleDocument } from './document.ts'
import { type EndpointJudge, fetchBundle } from './fetch.ts'
import { bundleOf, isSelfServing, readBootstrap, type Relationship } from './relationship.ts'

export interface FederationDeps {
  /** Where the newest bundle of each domain is kept. */
  readonly state: StateDir
  /** Our own bundle: an endpoint may be one of our workloads. */
  readonly own: () => TrustBundle
  readonly now: () => Temporal.Instant
  readonly clock: Clock
  readonly random: () => number
  readonly log: Log
  /** Told of every change; bundles of different domains are never merged. */
  readonly publish: (bundles: readonly TrustBundle[]) => Promise<void>
}

/** How one relationship stands. */
export interface FederationStatus {
  readonly trustDomain: TrustDomain
  readonly url: string
  readonly profile: Relationship['profile']['kind']
  /** Of the bundle in force; `undefined` before the first, or where the domain counts none. */
  readonly sequence: bigint | undefined
  readonly roots: number
  readonly fetchedAt: Temporal.Instant | undefined
  /** Why the last fetch failed; `undefined` if it did not. */
  readonly fault: string | undefined
}

export interface Federation extends AsyncDisposable {
  /** Believes these, and nobody else, from now on. */
  readonly set: (relationships: readonly Relationship[]) => Promise<void>
  readonly status: () => readonly FederationStatus[]
}

/** Seconds between fetches where a bundle does not say; and the bounds of what one may say. */
const DEFAULT_HINT_S = 300
const MIN_HINT_S = 10
const MAX_HINT_S = 86_400

interface Kept {
  readonly relationship: Relationship
  readonly ended: AbortController
  document: BundleDocument | undefined
  fetchedAt: Temporal.Instant | undefined
  fault: string | undefined
}

export function createFederation(deps: FederationDeps): Federation {
  const kept = new Map<TrustDomain, Kept>()
  const running = new Set<Promise<void>>()

  const publish = (): Promise<void> =>
    deps.publish(
      [...kept.values()].flatMap(({ relationship, document }) =>
        document ? [bundleOf(relationship.trustDomain, document)] : [],
      ),
    )
  const end = async (name: TrustDomain, one: Kept): Promise<void> => {
    one.ended.abort()
    kept.delete(name)
    await deps.state.remove(fileOf(name))
    deps.log('info', 'federation-ended', { trustDomain: name })
  }
  const begin = async (relationship: Relationship): Promise<void> => {
    const document = await readStored(deps, relationship.trustDomain)
    const ended = new AbortController()
    const one: Kept = { relationship, ended, document, fetchedAt: undefined, fault: undefined }
    kept.set(relationship.trustDomain, one)
    const run = keep(deps, one, { kept, publish }).catch((cause: unknown) => {
      if (!ended.signal.aborted) deps.log('error', 'federation-stopped', { detail: String(cause) })
    })
    running.add(run)
    void run.then(() => running.delete(run))
  }
  return {
    async set(relationships) {
      for (const [name, one] of Array.from(kept)) {
        const same = relationships.some((next) => isSame(next, one.relationship))
        if (!same) await end(name, one)
      }
      for (const next of relationships) if (!kept.has(next.trustDomain)) await begin(next)
      await publish()
    },
    status: () => [...kept.values()].map(statusOf),
    async [Symbol.asyncDispose]() {
      for (const { ended } of kept.values()) ended.abort()
      await Promise.all(running)
    },
  }
}

interface Others {
  readonly kept: ReadonlyMap<TrustDomain, Kept>
  readonly publish: () => Promise<void>
}

/** Fetches again and again; whoever fails is asked again when it would be anyway, or a little sooner. */
async function keep(deps: FederationDeps, one: Kept, others: Others): Promise<void> {
  const { clock, log, random } = deps
  const { trustDomain, url } = one.relationship
  const { signal } = one.ended
  const patience = () => backoff({ random, baseMs: 4000, maxMs: DEFAULT_HINT_S * 1000 })
  for (let waits = patience(); !signal.aborted; ) {
    let waitMs = hintMs(one.document)
    try {
      const text = await fetchBundle(url, judgeFor(deps, one, others.kept), deps, signal)
      if (await take(deps, one, text)) await others.publish()
      one.fault = undefined
      waits = patience()
      waitMs = hintMs(one.document)
      log('info', 'federation-fetched', { trustDomain, url })
    } catch (cause) {
      signal.throwIfAborted()
      one.fault = (cause as Error).message
      waitMs = Math.min(waitMs, waits.next().value + 1000)
      log('warn', 'federation-fetch-failed', { trustDomain, waitMs, detail: one.fault })
    }
    await clock.sleep(waitMs, signal)
  }
}

/** Puts a document in force that is newer; whether anything changed. @throws {CaError} `CA_FEDERATION_INVALID` */
async function take({ state, now }: FederationDeps, one: Kept, text: string): Promise<boolean> {
  const next = readBundleDocument(text)
  const { document: before, relationship } = one
  if (before?.sequence !== undefined && next.sequence !== undefined) {
    if (next.sequence < before.sequence) {
      throw new CaError(
        'CA_FEDERATION_INVALID',
        `Cannot take the bundle of "${relationship.trustDomain}": its sequence is ${next.sequence}, after ${before.sequence}`,
      )
    }
    if (next.sequence === before.sequence && one.fetchedAt) return false
  }
  await state.write(fileOf(relationship.trustDomain), text)
  one.document = next
  one.fetchedAt = now()
  return true
}

/** @throws {CaError} `CA_FEDERATION_INVALID` if nothing is known by which the endpoint could be judged */
function judgeFor(
  { own }: FederationDeps,
  { relationship, document }: Kept,
  kept: ReadonlyMap<TrustDomain, Kept>,
): EndpointJudge {
  const { profile, trustDomain } = relationship
  if (profile.kind === 'https_web') return { kind: 'https_web', roots: profile.roots }
  const { endpointId, bootstrap } = profile
  const domain = trustDomainOf(endpointId)
  const known = isSelfServing(relationship) ? document : kept.get(domain)?.document
  if (!known && domain === own().trustDomain) {
    return { kind: 'https_spiffe', endpointId, bundle: own() }
  }
  const found = known ?? (bootstrap === undefined ? undefined : readBootstrap(bootstrap))
  if (found) return { kind: 'https_spiffe', endpointId, bundle: bundleOf(domain, found) }
  throw new CaError(
    'CA_FEDERATION_INVALID',
    `Cannot fetch the bundle of "${trustDomain}": there is no bundle of "${domain}" to judge its endpoint by yet`,
  )
}

async function readStored(
  { state, log }: FederationDeps,
  trustDomain: TrustDomain,
): Promise<BundleDocument | undefined> {
  const text = await state.read(fileOf(trustDomain))
  if (text === undefined) return undefined
  try {
    return readBundleDocument(text)
  } catch (cause) {
    log('warn', 'federation-bundle-unreadable', { trustDomain, detail: String(cause) })
    return undefined // It is fetched anew.
  }
}

function hintMs(document: BundleDocument | undefined): number {
  const seconds = document?.refreshHint ?? DEFAULT_HINT_S
  return Math.min(Math.max(seconds, MIN_HINT_S), MAX_HINT_S) * 1000
}

function isSame(a: Relationship, b: Relationship): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

function fileOf(trustDomain: TrustDomain): string {
  return `${trustDomain}.json`
}

function statusOf({ relationship, document, fetchedAt, fault }: Kept): FederationStatus {
  const { trustDomain, url, profile } = relationship
  const { sequence, roots = [] } = document ?? {}
  return {
    trustDomain,
    url,
    profile: profile.kind,
    sequence,
    roots: roots.length,
    fetchedAt,
    fault,
  }
}
