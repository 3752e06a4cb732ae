/**
 * Routes of one destination, compiled: the first whose match block holds wins, and nothing after it
 * is considered (istio-semantics §5.4).
 */
import type { Route, RouteAction, RouteMatch, TextMatch } from '#policy/model/index.ts'
import type { ClusterState } from './cluster-state.ts'
import { compileHeaderEdits, type HeaderEdits } from './header-edits.ts'
import { compileRouteMatch, type RouteInput, type RouteTest } from './match-route.ts'
import type { CompileRegex } from './match-text.ts'
import { type CompiledRetry, compileRetry } from './retry.ts'
import { compileLocation, compileRewrite, endOfPath } from './rewrite.ts'
import { compileSplit, type Split } from './split.ts'

export type { RouteInput } from './match-route.ts'

/** Where a forwarded request goes and what changes on the way. */
export interface Target {
  readonly clusterName: string
  /** `undefined`: the route names a cluster that is missing (503, flag NC). */
  readonly cluster: ClusterState | undefined
  readonly request: HeaderEdits
  readonly response: HeaderEdits
  /** New `Host`. */
  readonly authority: string | undefined
}

export type CompiledAction =
  | {
      readonly kind: 'forward'
      /** Choose by `pickDestination`, once a request: its retries stay there. */
      readonly split: Split<Target>
      readonly retry: CompiledRetry
      /** Whole request with its retries; `undefined`: no limit. */
      readonly timeoutMs: number | undefined
      /** Gives the new target, in origin form. */
      readonly rewriteTarget: ((target: string) => string) | undefined
    }
  | {
      readonly kind: 'redirect'
      readonly status: number
      readonly locationOf: (input: RouteInput) => string
      readonly response: HeaderEdits
    }
  | {
      readonly kind: 'respond'
      readonly status: number
      readonly body: string
      readonly response: HeaderEdits
    }

/** A route together with the block of it that matched. */
export interface CompiledRoute {
  /** `<route>` or `<route>.<match>`. */
  readonly name: string
  readonly action: CompiledAction
}

/** The route of a request; `undefined`: none (404, flag NR). */
export type PickRoute = (input: RouteInput) => CompiledRoute | undefined

export interface RouteContext {
  readonly clusters: ReadonlyMap<string, ClusterState>
  readonly regex: CompileRegex
  /** The scheme that clients use towards this process. */
  readonly scheme: 'http' | 'https'
}

/**
 * Compiles routes into the function that picks one. Slow, so that its result is fast.
 *
 * @throws {ProxyError} `PROXY_CONFIG_INVALID` on an expression, header or retry condition that is none
 */
export function compileRoutes(routes: readonly Route[], context: RouteContext): PickRoute {
  const entries: Entry[] = []
  for (const route of routes) {
    for (const match of route.match ?? [{}]) {
      const entry = compileEntry(route, match, context)
      entries.push(entry)
      // Nothing behind a block that every request meets can be reached.
      if (entry.test === undefined) return pickFrom(entries)
    }
  }
  return pickFrom(entries)
}

/** Whether compiling `routes` needs an engine for regular expressions. */
export function needsRegex(routes: readonly Route[]): boolean {
  return routes.some(({ match = [] }) => match.some((block) => textsOf(block).some(isRegex)))
}

interface Entry {
  readonly test: RouteTest | undefined
  readonly route: CompiledRoute
}

function pickFrom(entries: readonly Entry[]): PickRoute {
  const [first] = entries
  if (first?.test === undefined) return () => first?.route
  return (input) => {
    const end = endOfPath(input.target)
    const path = end === input.target.length ? input.target : input.target.slice(0, end)
    for (const { test, route } of entries) {
      if (test === undefined || test(input, path)) return route
    }
    return undefined
  }
}

function compileEntry(route: Route, match: RouteMatch, context: RouteContext): Entry {
  return {
    test: compileRouteMatch(match, context),
    route: {
      name: match.name === undefined ? route.name : `${route.name}.${match.name}`,
      action: compileAction(route, match, context),
    },
  }
}

function compileAction(route: Route, match: RouteMatch, context: RouteContext): CompiledAction {
  const { action } = route
  switch (action.kind) {
    case 'forward':
      return {
        kind: 'forward',
        split: compileTargets(route, action, context),
        retry: compileRetry(action.retry),
        timeoutMs: action.timeoutMs,
        rewriteTarget:
          action.rewrite?.uri === undefined
            ? undefined
            : compileRewrite(action.rewrite.uri, match.uri),
      }
    case 'redirect':
      return {
        kind: 'redirect',
        status: action.code,
        locationOf: compileLocation(action, context.scheme),
        response: compileHeaderEdits([route.headers?.response]),
      }
    case 'respond':
      return {
        kind: 'respond',
        status: action.status,
        body: action.body,
        response: compileHeaderEdits([route.headers?.response]),
      }
    default:
      return action satisfies never
  }
}

type Forward = Extract<RouteAction, { readonly kind: 'forward' }>

/** With one destination its operations come after the route's, with several before them (§5.4). */
function compileTargets(
  { headers }: Route,
  { destinations, rewrite }: Forward,
  { clusters }: RouteContext,
): Split<Target> {
  const isOne = destinations.length === 1
  return compileSplit(
    destinations.map(({ cluster, weight, headers: own }) => {
      const inOrder = <T>(route: T, destination: T): readonly T[] =>
        isOne ? [route, destination] : [destination, route]
      const request = compileHeaderEdits(inOrder(headers?.request, own?.request))
      const response = compileHeaderEdits(inOrder(headers?.response, own?.response))
      // A new authority of the route goes before that of a destination, whatever the order.
      const { authority } = compileHeaderEdits([headers?.request, own?.request])
      return {
        weight,
        choice: {
          clusterName: cluster,
          cluster: clusters.get(cluster),
          request,
          response,
          authority: rewrite?.authority ?? authority,
        },
      }
    }),
  )
}

function textsOf(match: RouteMatch): readonly (TextMatch | undefined)[] {
  const { uri, scheme, method, authority, headers, withoutHeaders, queryParams } = match
  const maps = [headers, withoutHeaders, queryParams].flatMap((map) => Object.values(map ?? {}))
  const claims = [...(match.claims ?? []), ...(match.withoutClaims ?? [])]
  return [uri, scheme, method, authority, ...maps, ...claims.map((one) => one.match)]
}

function isRegex(match: TextMatch | undefined): boolean {
  return match?.kind === 'regex'
}
