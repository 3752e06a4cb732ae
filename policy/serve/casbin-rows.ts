/**
 * Lines of CasbinPolicies that are in databases: read here and streamed, so that no sidecar has a
 * database's credentials. While a database is away, the last lines that were good stay.
 */
import { backoff } from '#core/backoff.ts'
import type { Clock } from '#core/clock.ts'
import { createLive, type Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import { casbinName, type CasbinRows, textOf } from '../assemble/casbin.ts'
import { readOperatorModel, refuseLines } from '../casbin/operator/index.ts'
import { PolicyError } from '../error.ts'
import type { CasbinPolicy, Intent, PostgresSource, SecretSource } from '../model/intent.ts'
import { type Credentials, readRows, type ReadRows, type Row } from './read-rows.ts'

export interface CasbinRowsDeps {
  readonly intent: Live<Intent>
  readonly clock: Clock
  /** Numbers in [0, 1). */
  readonly random: () => number
  readonly log: Log
  /** A file of ours that a manifest names, for a password. */
  readonly readFile: (path: string) => Promise<string>
  /** @default over the network, as `read-rows.ts` does */
  readonly read?: ReadRows
  /** Told of each reading of a policy: what is wrong, `undefined` when all is well. */
  readonly onReading?: (policy: string, fault: RowsFault | undefined) => void
}

/** Lines that cannot be read now. */
export interface RowsFault {
  /** `namespace/name` of the CasbinPolicy. */
  readonly policy: string
  readonly why: string
  /** Whether the last good ones are in force; else there are none, and what asks is refused. */
  readonly kept: boolean
}

const BACKOFF = { baseMs: 1000, maxMs: 60_000 }

/** Reads what `intent` names again and again, until `signal` ends it. */
export function openCasbinRows(deps: CasbinRowsDeps, signal: AbortSignal): Live<CasbinRows> {
  const source = createLive<CasbinRows>(new Map())
  const kept = new Map<string, { readonly key: string; readonly ending: AbortController }>()
  const follow = (intent: Intent): void => {
    const wanted = new Map(
      intent.casbinPolicies.filter(isInDatabase).map((one) => [casbinName(one), one]),
    )
    for (const [name, { key, ending }] of kept) {
      const one = wanted.get(name)
      if (one !== undefined && keyOf(one) === key) continue
      ending.abort()
      kept.delete(name)
      deps.onReading?.(name, undefined)
      // Another place has other lines; who is moved to it keeps none of the old.
      const rest = [...source.live.current].filter(([other]) => other !== name)
      if (rest.length < source.live.current.size) source.set(new Map(rest))
    }
    for (const [name, policy] of wanted) {
      if (kept.has(name)) continue
      const ending = new AbortController()
      kept.set(name, { key: keyOf(policy), ending })
      // Ends with its signal alone, and then nobody waits for it.
      keep(name, deps, source, AbortSignal.any([signal, ending.signal])).catch(() => {})
    }
  }
  follow(deps.intent.current)
  void (async () => {
    for await (const intent of deps.intent.changes(signal)) follow(intent)
  })()
  return source.live
}

function isInDatabase({ policy }: CasbinPolicy): boolean {
  return policy.kind === 'postgres'
}

/** Where its lines are: another place begins anew. */
function keyOf({ policy }: CasbinPolicy): string {
  return JSON.stringify(policy)
}

async function keep(
  name: string,
  deps: CasbinRowsDeps,
  source: ReturnType<typeof createLive<CasbinRows>>,
  signal: AbortSignal,
): Promise<void> {
  const { clock, random, log } = deps
  let waits = backoff({ ...BACKOFF, random })
  let inForce = ''
  while (!signal.aborted) {
    let waitMs: number
    try {
      const { rows, refreshMs } = await readOnce(name, deps)
      if (signal.aborted) return
      const text = JSON.stringify(rows)
      if (text !== inForce) {
        source.set(new Map(source.live.current).set(name, rows))
        log('info', 'casbin-rows-read', { policy: name, lines: rows.length })
      }
      inForce = text
      deps.onReading?.(name, undefined)
      waits = backoff({ ...BACKOFF, random })
      waitMs = refreshMs * (1 - 0.1 * random())
    } catch (cause) {
      if (signal.aborted) return
      waitMs = waits.next().value
      const why = cause instanceof Error ? cause.message : String(cause)
      const kept = inForce !== ''
      deps.onReading?.(name, { policy: name, why, kept })
      log('warn', 'casbin-rows-not-read', { policy: name, why, kept, waitMs: Math.round(waitMs) })
    }
    await clock.sleep(waitMs, signal)
  }
}

/** @throws {PolicyError} when the database, a credential or a line is not as it must be */
async function readOnce(
  name: string,
  deps: CasbinRowsDeps,
): Promise<{ readonly rows: readonly Row[]; readonly refreshMs: number }> {
  const intent = deps.intent.current
  const policy = intent.casbinPolicies.find((one) => casbinName(one) === name)
  if (policy?.policy.kind !== 'postgres') throw failed(name, 'it is there no more')
  const { read = readRows } = deps
  const rows = await read(policy.policy, await credentialsOf(policy, policy.policy, deps))
  const model = textOf(intent, policy.namespace, policy.model)
  const reading = model === undefined ? undefined : readOperatorModel(model, policy.request)
  // A faulty model is refused by whoever gets it; lines are held against one that is good.
  const fault = reading?.kind === 'read' ? refuseLines(rows, reading.model) : undefined
  if (fault !== undefined) throw failed(name, `row ${fault.line}: ${fault.message}`)
  return { rows, refreshMs: policy.policy.refreshMs }
}

async function credentialsOf(
  { namespace }: CasbinPolicy,
  { password, ca }: PostgresSource,
  { intent, readFile }: CasbinRowsDeps,
): Promise<Credentials> {
  const authority = ca === undefined ? undefined : textOf(intent.current, namespace, ca)
  if (ca !== undefined && authority === undefined) {
    throw failed(namespace, 'the ConfigMap of its tls.ca, or the key, is not there')
  }
  const found = password && (await secretOf(intent.current, namespace, password, readFile))
  return { password: found, ca: authority }
}

async function secretOf(
  { secrets }: Intent,
  namespace: string,
  source: SecretSource,
  readFile: CasbinRowsDeps['readFile'],
): Promise<string> {
  if (source.kind === 'file') return (await readFile(source.path)).replace(/\r?\n$/, '')
  const { name, key } = source
  const secret = secrets.find((one) => one.namespace === namespace && one.name === name)
  const value = secret && Object.hasOwn(secret.data, key) ? secret.data[key] : undefined
  if (value === undefined)
    throw failed(`${namespace}/${name}`, `there is no Secret with key ${key}`)
  return value
}

function failed(what: string, why: string): PolicyError {
  return new PolicyError('POLICY_FETCH_FAILED', `Cannot read the lines of ${what}: ${why}`)
}
