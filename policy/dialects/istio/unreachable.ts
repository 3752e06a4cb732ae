/**
 * Routes of a VirtualService that nothing reaches, as Istio's analyzer finds them (istio-semantics
 * §16.3): IST0130 for a route, IST0131 for one of its match blocks.
 */
import type { Warning } from '../kind.ts'
import type { PathKey } from '../pointer.ts'
import type { RawMatch } from './route-match.ts'
import type { RawTextMatch } from './text-match.ts'

interface Routed {
  readonly match?: readonly object[] | undefined
}

/** @param field - The list of the spec in which `routes` stand. */
export function warnUnreachable(
  field: 'http' | 'tcp' | 'tls',
  routes: readonly Routed[] = [],
): readonly Warning[] {
  const found: Warning[] = []
  const warn = (path: readonly PathKey[], message: string): void => {
    found.push({ path: ['spec', field, ...path], message })
  }
  const seen = new Map<string, number>()
  let catchAll: number | undefined
  routes.forEach(({ match = [] }, at) => {
    if (match.length === 0) {
      if (catchAll !== undefined) warn([at], unreachable(`route ${catchAll} takes everything`))
      catchAll = at
      return
    }
    const repeated = match.filter((block, index) => {
      const path = [at, 'match', index]
      if (catchAll !== undefined) {
        warn(path, unreachable(`route ${catchAll} takes everything`))
        return false
      }
      const key = canonical(block)
      const first = seen.get(key)
      if (first === undefined) seen.set(key, at)
      else warn(path, `IST0131: it has no effect, for route ${first} has the same match`)
      return first !== undefined
    })
    if (repeated.length === match.length)
      warn([at], unreachable('earlier ones have all its matches'))
  })
  return found
}

function unreachable(why: string): string {
  return `IST0130: the route is never reached: ${why}`
}

/** Equal for blocks that say the same: names and what is written for nothing do not count. */
function canonical(block: object): string {
  const said = Object.entries(block)
    .filter(([key, value]) => key !== 'name' && !isNothing(key, value))
    .sort(([a], [b]) => (a < b ? -1 : 1))
  return JSON.stringify(said, (_, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  )
}

const MAPS = ['headers', 'withoutHeaders', 'queryParams', 'sourceLabels']

function isNothing(key: string, value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0
  if (MAPS.includes(key)) return Object.keys(value as object).length === 0
  return value === 0 || value === false || value === ''
}

interface Prefixed {
  readonly path: readonly PathKey[]
  readonly route: number
  readonly prefix: string
  readonly match: RawMatch
}

/** A later path prefix inside an earlier one, where all else is the same or wider (IST0131). */
export function warnCovered(
  routes: readonly { readonly match?: readonly RawMatch[] | undefined }[] = [],
): readonly Warning[] {
  const prefixed = prefixesOf(routes)
  return prefixed.flatMap((later, at) => {
    const earlier = prefixed.slice(0, at).find((one) => covers(one, later))
    if (!earlier) return []
    const message = `IST0131: it has no effect, for route ${earlier.route} takes the prefix ${earlier.prefix}`
    return [{ path: later.path, message }]
  })
}

/** Blocks that can be compared; a route behind one that takes everything is reported as such. */
function prefixesOf(routes: readonly { readonly match?: readonly RawMatch[] | undefined }[]) {
  const end = routes.findIndex(({ match = [] }) => match.length === 0)
  return routes.slice(0, end < 0 ? routes.length : end).flatMap(({ match = [] }, route) =>
    match.flatMap((block, index): Prefixed[] => {
      const prefix = block.uri?.prefix
      return prefix
        ? [{ path: ['spec', 'http', route, 'match', index], route, prefix, match: block }]
        : []
    }),
  )
}

function covers({ prefix, match: a }: Prefixed, { prefix: longer, match: b }: Prefixed): boolean {
  if (longer === prefix || !longer.startsWith(prefix)) return false
  const method = (match: RawMatch): string => written(match.method) || 'exact:GET'
  return (
    (a.port ?? 0) === (b.port ?? 0) &&
    method(a).startsWith(method(b)) &&
    written(a.authority).startsWith(written(b.authority)) &&
    coverEach(a.headers, b.headers) &&
    coverEach(a.queryParams, b.queryParams) &&
    coverEach(a.withoutHeaders, b.withoutHeaders)
  )
}

function coverEach(
  a: Readonly<Record<string, RawTextMatch>> = {},
  b: Readonly<Record<string, RawTextMatch>> = {},
): boolean {
  const names = Object.keys(a)
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && written(a[name]).startsWith(written(b[name])))
  )
}

function written({ exact, prefix }: RawTextMatch = {}): string {
  if (exact) return `exact:${exact}`
  return prefix ? `prefix:${prefix}` : ''
}
