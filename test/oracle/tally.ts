/** What both sides said of each request, compared: faults, and differences that are meant. */
import type { CheckResult } from '#policy/index.ts'
import { headerValues } from '#policy/model/index.ts'
import type { Seen } from '#test/fakes/running-sidecar.ts'
import type { OracleAnswer } from './cases.ts'
import { DIFFERENCES, type Pair } from './differences.ts'

/** What both sides can be compared by: let through, or the status of the refusal (`null`: there is none). */
export interface Verdict {
  readonly isAllowed: boolean
  readonly status: number | null
  readonly path?: string | null
  /** What the caller was told, where both tell it. */
  readonly body?: string
  /** Watched headers as the app got them, a line each. */
  readonly lines?: readonly string[]
}

export const NOBODY: Verdict = { isAllowed: false, status: null }

export function verdictOf({ decision, status, normalizedPath }: CheckResult): Verdict {
  return decision === 'allow'
    ? { isAllowed: true, status: null, path: normalizedPath }
    : { isAllowed: false, status }
}

export function verdictOfSeen(seen: Seen, watched: readonly string[]): Verdict {
  const { kind, status, forwardedPath, forwardedHead = '', chain, body = '' } = seen
  if (kind === 'closed') return NOBODY
  const isAllowed = kind === 'tcp' || forwardedPath !== undefined
  if (!isAllowed) return { isAllowed, status: status ?? null, body }
  const isHttp = chain === 'http'
  return { isAllowed, status: null, ...(isHttp ? { lines: linesOf(forwardedHead, watched) } : {}) }
}

function verdictOfTheirs(answer: OracleAnswer, watched: readonly string[]): Verdict {
  const { decision, chain, forwardedPath, forwardedHead, body } = answer
  if (decision !== 'allow') return { isAllowed: false, status: statusOf(answer), body: body ?? '' }
  const path = chain === 'http' ? forwardedPath?.replace(/\?.*/, '') : undefined
  const lines = chain === 'http' && forwardedHead ? { lines: linesOf(forwardedHead, watched) } : {}
  return { isAllowed: true, status: null, ...(path === undefined ? {} : { path }), ...lines }
}

/** What is sent as TCP may be answered in HTTP. */
function statusOf({ status, body = '' }: OracleAnswer): number | null {
  const [, said] = /^HTTP\/1\.1 (\d{3}) /.exec(body) ?? []
  return status ?? (said === undefined ? null : Number(said))
}

/** In the order of names: lines of one name keep theirs. */
function linesOf(head: string, watched: readonly string[]): readonly string[] {
  const lines = head
    .split('\r\n')
    .slice(1)
    .map((line) => /^([^:]*): ?(.*)$/.exec(line) ?? [])
    .map(([, name = '', value = '']) => [name.toLowerCase(), value] as const)
  // Lines that are one value to policies may as well be one line.
  return watched.flatMap((name) => {
    const values = lines.filter(([other]) => other === name).map(([, value]) => value.trim())
    return headerValues(name, values).map((value) => `${name}: ${value}`)
  })
}

function isSame(ours: Verdict, theirs: Verdict): boolean {
  if (ours.isAllowed !== theirs.isAllowed || ours.status !== theirs.status) return false
  // The path that policies saw is the one that Envoy sends on.
  if (theirs.path && ours.path && ours.path !== theirs.path) return false
  if (theirs.lines && ours.lines && ours.lines.join('\n') !== theirs.lines.join('\n')) return false
  const isTold = ours.body !== undefined && theirs.body !== undefined && tellsWhy(ours.status)
  return !isTold || ours.body === theirs.body
}

/** The oracle's app tells of HEAD the first line alone. */
function withoutText({ lines: _, body: _body, ...rest }: Verdict): Verdict {
  return rest
}

/** Refusals whose body is part of Istio's contract (§4). */
function tellsWhy(status: number | null): boolean {
  return status === 401 || status === 403
}

/** What is not to be: two sides that differ, without a name for it. */
export interface Fault {
  readonly who: string
  /** Of the set; and of the request, where it is about one. */
  readonly at: string
  readonly [more: string]: unknown
}

export interface Tally {
  readonly counts: Readonly<Record<string, number>>
  /** By `who at`. */
  readonly faults: ReadonlyMap<string, Fault>
  /** What our side said, by the same. */
  readonly said: ReadonlyMap<string, string>
  readonly skip: (what: string) => void
  /** What cannot be compared as a {@link Verdict}; `fault`: it is none where `undefined`. */
  readonly misjudge: (who: string, at: string, ours: string, fault: object | undefined) => void
  readonly note: (
    who: string,
    pair: Omit<Pair, 'ours'> & { readonly set: string; readonly watched: readonly string[] },
    ours: Verdict,
  ) => void
}

export function createTally(): Tally {
  const counts: Record<string, number> = {}
  const faults = new Map<string, Fault>()
  const said = new Map<string, string>()
  const count = (what: string): void => {
    counts[what] = (counts[what] ?? 0) + 1
  }
  return {
    counts,
    faults,
    said,
    skip: count,
    misjudge(who, at, ours, fault) {
      count(who)
      said.set(`${who} ${at}`, ours)
      if (fault !== undefined) faults.set(`${who} ${at}`, { who, at, ours, ...fault })
    },
    note(who, pair, ours) {
      count(who)
      const at = `${pair.set}/${pair.request.id}`
      said.set(`${who} ${at}`, JSON.stringify(ours))
      const theirs = verdictOfTheirs(pair.theirs, pair.watched)
      if (isSame(ours, pair.request.method === 'HEAD' ? withoutText(theirs) : theirs)) return
      const difference = DIFFERENCES.find(({ explains }) => explains({ ...pair, ours }))
      if (difference) count(difference.name)
      else faults.set(`${who} ${at}`, { who, at, ours, ...pair, said: theirs })
    },
  }
}
