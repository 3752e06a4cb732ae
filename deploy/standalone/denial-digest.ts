/**
 * Turns access-log lines into reports of refusals: the first of its kind at once, those that follow
 * within a second as one. A flood of refused requests must not become a flood of reports.
 */
import type { Clock } from '#core/clock.ts'
import type { DeniedRequests } from './messages.ts'

const DIGEST_MS = 1000

/** Kinds that are told apart at a time; beyond it refusals are counted in metrics only. */
const MAX_KINDS = 256

/** Takes every access-log line of a sidecar (one JSON object). */
export function createDenialDigest(
  clock: Clock,
  signal: AbortSignal,
  report: (denied: DeniedRequests) => void,
): (line: string) => void {
  const pending = new Map<string, DeniedRequests>()
  const flushLater = async (key: string): Promise<void> => {
    await clock.sleep(DIGEST_MS, signal)
    const denied = pending.get(key)
    pending.delete(key)
    if (denied && denied.count > 0) report(denied)
  }
  return (line) => {
    const denied = deniedFromLine(line)
    if (!denied) return
    const { from, method, path, reason } = denied
    const key = [from, method, path, reason].join(' ')
    const known = pending.get(key)
    if (known) {
      pending.set(key, { ...known, count: known.count + 1 })
    } else if (pending.size < MAX_KINDS) {
      pending.set(key, { ...denied, count: 0 })
      report(denied)
      flushLater(key).catch(() => {}) // The sidecar is ending.
    }
  }
}

/** What an access-log line says of a decision. */
interface DecisionFields {
  readonly method?: string
  readonly path?: string
  readonly response_code?: number
  readonly source_principal?: string | null
  readonly action?: string
  readonly policy?: string | null
  readonly rule?: number | null
  readonly considered?: readonly string[]
}

/** A refusal by policy, or `undefined`: almost every line is not one, and is not parsed. */
export function deniedFromLine(line: string): DeniedRequests | undefined {
  if (!line.includes('"decision":"deny"')) return undefined
  const fields = JSON.parse(line) as DecisionFields
  return {
    count: 1,
    from: fields.source_principal ?? '',
    method: fields.method ?? '',
    path: (fields.path ?? '').split('?')[0] ?? '',
    status: fields.response_code ?? 403,
    reason: reasonOf(fields),
  }
}

function reasonOf({ action = 'DENY', policy, rule, considered = [] }: DecisionFields): string {
  if (policy) return `${action} policy ${policy}, rule ${rule ?? 0}`
  if (considered.length === 0) return 'no ALLOW policy applies'
  return `no ALLOW policy matches (${considered.join(', ')})`
}
