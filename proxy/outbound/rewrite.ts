/** New targets and locations (istio-semantics §5.5, §5.6). */
import type { RouteMatch } from '#policy/model/index.ts'
import type { RouteInput } from './match-route.ts'

/**
 * Compiles `rewrite.uri`: the part of the path that `uri` matched is replaced, the query stays.
 * Without a `uri` the part is Envoy's catch-all, the leading slash.
 */
export function compileRewrite(
  replacement: string,
  uri: RouteMatch['uri'],
): (target: string) => string {
  const matched = uri?.kind === 'prefix' ? uri.value.length : uri === undefined ? 1 : undefined
  return (target) => {
    const queryAt = endOfPath(target)
    return replacement + target.slice(matched === undefined ? queryAt : Math.min(matched, queryAt))
  }
}

/** Where the path of `target` ends. */
export function endOfPath(target: string): number {
  const at = target.indexOf('?')
  return at === -1 ? target.length : at
}

/** Compiles what a redirect answers as `Location`. A new `uri` replaces the path; the query stays unless it has one. */
export function compileLocation(
  to: { readonly uri?: string; readonly authority?: string; readonly scheme?: string },
  scheme: 'http' | 'https',
): (input: Pick<RouteInput, 'target' | 'authority'>) => string {
  return ({ target, authority }) => {
    const queryAt = endOfPath(target)
    const path =
      to.uri === undefined ? target : to.uri + (to.uri.includes('?') ? '' : target.slice(queryAt))
    return `${to.scheme ?? scheme}://${to.authority ?? authority}${path}`
  }
}
