/** What an external authorizer is asked, and what it can say (Envoy's ext_authz; istio-semantics §1.11). */
import type { SpiffeId } from '#ca/spiffe/index.ts'
import type { Clock } from '#core/clock.ts'
import type { CheckedBody, Connection } from '#policy/model/index.ts'
import type { RequestHead } from '../http/request-head.ts'
import type { FindDestination } from '../outbound/destination.ts'
import type { Hops } from '../outbound/hops.ts'
import type { TimerWheel } from '../stack/timer-wheel.ts'

/** Asked about one request, or about one opaque connection. */
export interface Question {
  readonly connection: Connection
  /** Who we are. */
  readonly own: SpiffeId
  /** `host:port` of the caller's end, and of ours. */
  readonly remoteAddress: string
  readonly localAddress: string
  /** `undefined`: an opaque connection. */
  readonly http: HttpQuestion | undefined
}

export interface HttpQuestion {
  readonly head: RequestHead
  readonly protocol: 'HTTP/1.1' | 'HTTP/2'
  /** Path as policies see it, and the query as it came. */
  readonly target: string
  /** As policies see it: without query. */
  readonly path: string
  readonly requestId: string
  /** What the app will be told of the caller's certificate: a whole line, or ''. */
  readonly forwardedCert: string
  /** As much of the body as goes along; `undefined`: none was asked for, or there is none. */
  readonly body: Buffer | undefined
  /** Whether it is only the beginning; `undefined` when no body was asked for. */
  readonly isPartial: boolean | undefined
}

/** One thing to do to the headers of a message; they are done in order. Names in lower case. */
export interface HeaderEdit {
  readonly kind: 'set' | 'append' | 'add' | 'add-if-absent' | 'set-if-present' | 'remove'
  readonly name: string
  /** '' for `remove`. */
  readonly value: string
}

/** What a yes changes. */
export interface Changes {
  /** Of the request, before any further policy sees it. `:path` and `host` are among the names. */
  readonly request: readonly HeaderEdit[]
  /** Of what the caller is answered. */
  readonly response: readonly HeaderEdit[]
  /** Parameters of the query, decoded; those to set replace all of their name. */
  readonly setParameters: readonly (readonly [name: string, value: string])[]
  readonly removeParameters: readonly string[]
}

export type Verdict =
  | { readonly kind: 'allow'; readonly changes: Changes }
  | {
      readonly kind: 'deny'
      /** 200..599 */
      readonly status: number
      readonly headers: readonly (readonly [name: string, value: string])[]
      /** latin1, so that one character is one byte. */
      readonly body: string
    }
  /** It could not be asked, or said nothing that can be understood. `status`: what it wants answered. */
  | { readonly kind: 'failed'; readonly detail: string; readonly status?: number }

/** A yes that changes nothing. */
export const NO_CHANGES: Changes = {
  request: [],
  response: [],
  setParameters: [],
  removeParameters: [],
}

/** What asking needs from the world: the sidecar's own way out. */
export interface AskDeps {
  readonly find: FindDestination
  readonly hops: Hops
  readonly clock: Clock
  readonly wheel: TimerWheel
  readonly now: () => Temporal.Instant
}

/** Calls `done` once, never before it returns; what is returned gives the question up. */
export type Ask = (
  question: Question,
  deps: AskDeps,
  done: (verdict: Verdict) => void,
) => () => void

/** How a provider's answer is counted. */
export type ProviderAnswer = 'allow' | 'deny' | 'failed' | 'failed-open'

/** A provider, compiled. */
export interface AskedProvider {
  readonly failOpen: boolean
  readonly statusOnError: number
  readonly body: CheckedBody | undefined
  readonly ask: Ask
}
