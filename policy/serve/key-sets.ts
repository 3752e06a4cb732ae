/** Key sets that rules name by URI: fetched here and streamed, so that no sidecar asks a stranger (§3.5). */
import { backoff } from '#core/backoff.ts'
import type { Clock } from '#core/clock.ts'
import { createLive, type Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import { PolicyError } from '../error.ts'
import type { Intent, JwksFetching } from '../model/intent.ts'
import type { JwtRule } from '../model/request-authentication.ts'
import { fetchText } from './fetch-text.ts'

/** Texts of key sets, by {@link keySetName}. */
export type KeySets = ReadonlyMap<string, string>

export interface KeySetDeps {
  readonly intent: Live<Intent>
  readonly clock: Clock
  /** Numbers in [0, 1). */
  readonly random: () => number
  readonly log: Log
  /** @default over HTTP, with the limits of `fetch-text.ts` */
  readonly fetch?: (uri: string, jwks: JwksFetching, signal: AbortSignal) => Promise<string>
}

/** Milliseconds between two fetches that succeed, as Istio has it; a little is taken off by chance. */
const REFRESH_MS = 20 * 60_000
/** How long the last good set stands in while newer ones cannot be had. */
const MAX_AGE_MS = 24 * 60 * 60_000
const BACKOFF = { baseMs: 1000, maxMs: 5 * 60_000 }
/** Between two fetches at the least, however often somebody asks: anyone can send tokens with keys that nobody has. */
const MIN_BETWEEN_MS = 30_000

/** Under which name a rule's keys are kept; `undefined`: it has them inline. */
export function keySetName({ jwks, jwksUri, issuer }: JwtRule): string | undefined {
  if (jwks !== undefined) return undefined
  return jwksUri ?? (issuer === undefined ? undefined : `${issuer.replace(/\/$/, '')}${DISCOVERY}`)
}

/** OpenID Connect Discovery 1.0 §4: without a URI, the issuer says where its keys are. */
const DISCOVERY = '/.well-known/openid-configuration'

/** Key sets that are kept. */
export interface KeptKeySets {
  readonly live: Live<KeySets>
  /**
   * Fetches what rules of `issuer` name ('' for those without one) before its time, half a minute after the
   * last try at the earliest: a token has come with a key that is not there, as after a rotation.
   */
  readonly fetchAnew: (issuer: string) => void
}

interface Kept {
  readonly ending: AbortController
  /** Ends the wait for the next fetch, while there is one. */
  readonly wake: Wake
}

interface Wake {
  call: () => void
}

/** Keeps the key sets that `intent` names, until `signal` ends it. */
export function openKeySets(deps: KeySetDeps, signal: AbortSignal): KeptKeySets {
  const source = createLive<KeySets>(new Map())
  const kept = new Map<string, Kept>()
  const follow = (intent: Intent): void => {
    const wanted = sourcesOf(intent)
    for (const [name, { ending }] of kept) {
      if (wanted.has(name)) continue
      ending.abort()
      kept.delete(name)
      source.set(new Map([...source.live.current].filter(([other]) => other !== name)))
    }
    for (const [name, timeoutMs] of wanted) {
      if (kept.has(name)) continue
      const ending = new AbortController()
      const wake: Wake = { call: () => {} }
      kept.set(name, { ending, wake })
      const until = AbortSignal.any([signal, ending.signal])
      // Ends with `until` alone, and then nobody waits for it.
      keep({ ...deps, name, timeoutMs, wake }, source, until).catch(() => {})
    }
  }
  follow(deps.intent.current)
  void (async () => {
    for await (const intent of deps.intent.changes(signal)) follow(intent)
  })()
  return {
    live: source.live,
    fetchAnew: (issuer) => {
      const rules = deps.intent.current.requestAuthentications.flatMap(({ jwtRules }) => jwtRules)
      for (const rule of rules) {
        if ((rule.issuer ?? '') === issuer) kept.get(keySetName(rule) ?? '')?.wake.call()
      }
    },
  }
}

/** Names of the key sets to fetch, each with the shortest time that a rule leaves for it. */
function sourcesOf({ requestAuthentications }: Intent): ReadonlyMap<string, number> {
  const sources = new Map<string, number>()
  for (const rule of requestAuthentications.flatMap(({ jwtRules }) => jwtRules)) {
    const name = keySetName(rule)
    if (name === undefined) continue
    sources.set(name, Math.min(rule.timeoutMs, sources.get(name) ?? rule.timeoutMs))
  }
  return sources
}

interface Keeping extends KeySetDeps {
  readonly name: string
  readonly timeoutMs: number
  readonly wake: Wake
}

async function keep(
  deps: Keeping,
  source: ReturnType<typeof createLive<KeySets>>,
  signal: AbortSignal,
): Promise<void> {
  const { name, clock, random, log } = deps
  const put = (text: string | undefined): void => {
    if (source.live.current.get(name) === text) return
    const sets = new Map(source.live.current)
    if (text === undefined) sets.delete(name)
    else sets.set(name, text)
    source.set(sets)
  }
  let waits = backoff({ ...BACKOFF, random })
  let fetchedMs = clock.nowMs()
  while (!signal.aborted) {
    let waitMs = REFRESH_MS * (1 - 0.1 * random())
    const triedMs = clock.nowMs()
    try {
      const { jwks } = deps.intent.current.mesh
      const text = await fetchKeySet({ ...deps, jwks }, signal)
      if (signal.aborted) return
      put(text)
      fetchedMs = clock.nowMs()
      waits = backoff({ ...BACKOFF, random })
    } catch (cause) {
      if (signal.aborted) return
      waitMs = waits.next().value
      const why = cause instanceof Error ? cause.message : String(cause)
      log('warn', 'key-set-not-fetched', { name, why, waitMs: Math.round(waitMs) })
      if (clock.nowMs() - fetchedMs > MAX_AGE_MS) put(undefined)
    }
    await rest(deps, waitMs, signal)
    const leftMs = Math.min(waitMs, MIN_BETWEEN_MS) - (clock.nowMs() - triedMs)
    if (leftMs > 0) await clock.sleep(leftMs, signal)
  }
}

/** Waits, or until it is woken. */
async function rest({ clock, wake }: Keeping, waitMs: number, signal: AbortSignal): Promise<void> {
  const woken = new AbortController()
  wake.call = () => woken.abort()
  try {
    await clock.sleep(waitMs, AbortSignal.any([signal, woken.signal]))
  } catch (cause) {
    if (!woken.signal.aborted) throw cause
  } finally {
    wake.call = () => {}
  }
}

/**
 * Fetches the key set of one name, within `timeoutMs`.
 *
 * @throws {PolicyError} `POLICY_FETCH_FAILED`: not to be had, or no key set
 */
export async function fetchKeySet(
  deps: Pick<KeySetDeps, 'clock' | 'fetch'> & {
    readonly name: string
    readonly timeoutMs: number
    /** Of `Mesh`. */
    readonly jwks: JwksFetching
  },
  signal: AbortSignal,
): Promise<string> {
  const { name, timeoutMs, jwks, clock, fetch = fetchText } = deps
  const late = new AbortController()
  const until = AbortSignal.any([signal, late.signal])
  clock.sleep(timeoutMs, until).then(
    () => late.abort(new Error(`no answer within ${timeoutMs} ms`)),
    () => {}, // it came in time
  )
  try {
    const text = await fetch(name, jwks, until)
    if (!name.endsWith(DISCOVERY)) return admitKeySet(text, name)
    const found = memberOf(text, 'jwks_uri')
    if (typeof found !== 'string') throw failed(name, 'it names no jwks_uri')
    return admitKeySet(await fetch(found, jwks, until), found)
  } catch (cause) {
    if (!late.signal.aborted) throw cause
    throw failed(name, `there was no answer within ${timeoutMs} ms`, cause)
  } finally {
    late.abort()
  }
}

/** Only what is a list of keys takes the place of the last good set: a page that says sorry does not. */
function admitKeySet(text: string, name: string): string {
  if (Array.isArray(memberOf(text, 'keys'))) return text
  throw failed(name, 'it is no JSON Web Key Set')
}

function memberOf(text: string, member: string): unknown {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && Object.hasOwn(value, member)
      ? (value as Readonly<Record<string, unknown>>)[member]
      : undefined
  } catch {
    return undefined // no JSON has no members
  }
}

function failed(name: string, why: string, cause?: unknown): PolicyError {
  const message = `Cannot fetch keys from ${JSON.stringify(name)}: ${why}`
  return new PolicyError('POLICY_FETCH_FAILED', message, { cause })
}
