/**
 * One question to a provider: its deadline, its endpoint, and another endpoint when nobody was there.
 * The protocol does the rest.
 */
import type { Authorizer } from '#policy/model/index.ts'
import type { ClusterState, EndpointState } from '../outbound/cluster-state.ts'
import { awaitDestination, type Destination } from '../outbound/destination.ts'
import { clusterOf } from './cluster-of.ts'
import type { AskDeps, Verdict } from './question.ts'

/** Endpoints tried for one question. */
const MAX_ATTEMPTS = 3

/** How an attempt ended without an answer. */
export interface AttemptFailure {
  readonly detail: string
  /** Whether the next endpoint may be asked: nobody was there, or nothing was answered. */
  readonly again: boolean
}

/** Where one attempt goes. */
export interface Place {
  readonly cluster: ClusterState
  readonly endpoint: EndpointState
  readonly destination: Extract<Destination['bundle'], { readonly kind: 'known' }>
}

/** Sends the question to one endpoint; returns how to give it up. Calls back once, later. */
export type Send = (
  place: Place,
  answered: (verdict: Verdict, status: number) => void,
  failed: (failure: AttemptFailure) => void,
) => () => void

/** Asks, within `settings.timeoutMs`. `done` is called once, never before this returns. */
export function askWithin(
  settings: Pick<Authorizer, 'host' | 'port' | 'timeoutMs'>,
  deps: AskDeps,
  send: Send,
  done: (verdict: Verdict) => void,
): () => void {
  const { host, port, timeoutMs } = settings
  const tried: EndpointState[] = []
  let giveUp: (() => void) | undefined
  let over = false
  const timer = deps.wheel.timer(() => {
    giveUp?.()
    finish({ kind: 'failed', detail: `no answer within ${timeoutMs} ms` })
  })
  const finish = (verdict: Verdict): void => {
    if (over) return
    over = true
    timer.clear()
    done(verdict)
  }
  const attempt = (cluster: ClusterState, destination: Place['destination']): void => {
    const endpoint = cluster.pick(tried)
    if (endpoint === undefined) return finish({ kind: 'failed', detail: 'it has no endpoint' })
    tried.push(endpoint)
    cluster.begin(endpoint)
    giveUp = send(
      { cluster, endpoint, destination },
      (verdict, status) => {
        cluster.end(endpoint, status)
        finish(verdict)
      },
      ({ detail, again }) => {
        cluster.end(endpoint, 0)
        if (over) return
        if (again && tried.length < MAX_ATTEMPTS) attempt(cluster, destination)
        else finish({ kind: 'failed', detail })
      },
    )
  }
  timer.set(timeoutMs)
  awaitDestination(deps.find(host, port), deps.clock, (destination) => {
    if (over) return
    const bundle = destination?.bundle
    const cluster = destination && clusterOf(destination)
    if (cluster !== undefined && bundle?.kind === 'known') attempt(cluster, bundle)
    else finish({ kind: 'failed', detail: `nobody is known as ${host}:${port}` })
  })
  return () => {
    over = true
    timer.clear()
    giveUp?.()
  }
}
