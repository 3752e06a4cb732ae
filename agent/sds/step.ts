/**
 * Versions and nonces of one SDS stream, without the stream: state and event in, state and what to do
 * out. The driver selects secrets, writes and waits.
 *
 * @see xDS protocol, "ACK and NACK"; reference: Envoy `xds_protocol.rst`
 */

/** A state-of-the-world stream. `nonce` and `version` are of the last response; empty before it. */
export interface StreamState {
  /** What is subscribed to; `undefined` before the first request. */
  readonly names: readonly string[] | undefined
  readonly nonce: string
  readonly version: string
  /** The last version that the client took. */
  readonly acked: string
  readonly sent: number
}

export type StreamEvent =
  | {
      readonly kind: 'request'
      readonly names: readonly string[]
      readonly nonce: string
      /** Why the last response was refused; `undefined`: it was not. */
      readonly error: string | undefined
      /** Of what `names` select now. */
      readonly version: string
    }
  | { readonly kind: 'content'; readonly version: string }

export interface StreamStep {
  readonly state: StreamState
  readonly send: boolean
  /** `stale`: answers to a response that is not the last, and says nothing. */
  readonly heard: 'nothing' | 'stale' | 'accepted' | 'rejected'
}

export const STREAM_START: StreamState = {
  names: undefined,
  nonce: '',
  version: '',
  acked: '',
  sent: 0,
}

export function stepStream(state: StreamState, event: StreamEvent): StreamStep {
  switch (event.kind) {
    case 'content':
      if (!state.names || event.version === state.version) {
        return { state, send: false, heard: 'nothing' }
      }
      return { state: sending(state, event.version), send: true, heard: 'nothing' }

    case 'request': {
      // Of an earlier stream's nonce the first request tells nothing that matters here.
      if (state.names && event.nonce !== state.nonce) {
        return { state, send: false, heard: 'stale' }
      }
      const heard = heardOf(state, event.error)
      const acked = heard === 'accepted' ? state.version : state.acked
      const next = { ...state, names: event.names, acked }
      // A refused version is not sent again: only other content or other names are an answer.
      if (state.names && sameNames(state.names, event.names)) {
        return { state: next, send: false, heard }
      }
      return { state: sending(next, event.version), send: true, heard }
    }

    default:
      return event satisfies never
  }
}

function heardOf(state: StreamState, error: string | undefined): StreamStep['heard'] {
  if (state.sent === 0) return 'nothing'
  return error === undefined ? 'accepted' : 'rejected'
}

function sending(state: StreamState, version: string): StreamState {
  const sent = state.sent + 1
  return { ...state, version, nonce: String(sent), sent }
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  const wanted = new Set(a)
  return wanted.size === new Set(b).size && b.every((name) => wanted.has(name))
}

/** An incremental stream: for each name subscribed to, the version that the client holds. */
export interface DeltaState {
  /** `undefined`: it holds none. */
  readonly held: ReadonlyMap<string, string | undefined>
  /** Everything it may have, whatever the names. */
  readonly wildcard: boolean
  readonly started: boolean
  readonly sent: number
}

/** Versions of all that could be sent now, by name. */
export type Versions = ReadonlyMap<string, string>

export type DeltaEvent =
  | {
      readonly kind: 'request'
      readonly subscribe: readonly string[]
      readonly unsubscribe: readonly string[]
      /** What a client that reconnects says it holds; heard in the first request only. */
      readonly initial: Versions
      readonly nonce: string
      readonly error: string | undefined
      readonly available: Versions
      /** What the wildcard stands for: names in `available` without the aliases. */
      readonly everything: readonly string[]
    }
  | {
      readonly kind: 'content'
      readonly available: Versions
      readonly everything: readonly string[]
    }

export interface DeltaStep {
  readonly state: DeltaState
  /** What to send; `undefined`: nothing. An answer to a subscription may be empty of both. */
  readonly send:
    | { readonly names: readonly string[]; readonly removed: readonly string[] }
    | undefined
  readonly heard: StreamStep['heard']
}

export const DELTA_START: DeltaState = {
  held: new Map(),
  wildcard: false,
  started: false,
  sent: 0,
}

/** The name that stands for all (xDS, "Wildcard subscriptions"). */
const WILDCARD = '*'

export function stepDelta(state: DeltaState, event: DeltaEvent): DeltaStep {
  switch (event.kind) {
    case 'content':
      return { ...update(state, event), heard: 'nothing' }

    case 'request': {
      const heard = deltaHeard(state, event)
      return { ...update(subscribed(state, event), event), heard }
    }

    default:
      return event satisfies never
  }
}

type DeltaRequest = Extract<DeltaEvent, { kind: 'request' }>

function deltaHeard({ sent }: DeltaState, { nonce, error }: DeltaRequest): StreamStep['heard'] {
  if (nonce === '') return 'nothing'
  if (nonce !== String(sent)) return 'stale'
  return error === undefined ? 'accepted' : 'rejected'
}

/** The state with the request's names in and out. A name subscribed anew is owed an answer. */
function subscribed(state: DeltaState, event: DeltaRequest): DeltaState {
  const { subscribe, unsubscribe, initial } = event
  const first = !state.started
  const held = new Map(state.held)
  if (first) for (const [name, version] of initial) held.set(name, version)
  for (const name of subscribe) {
    // In its first request a client that reconnects subscribes to what it holds already.
    if (name !== WILDCARD && !(first && initial.has(name))) held.set(name, undefined)
  }
  for (const name of unsubscribe) held.delete(name)
  const wildcard =
    (state.wildcard || subscribe.includes(WILDCARD) || (first && subscribe.length === 0)) &&
    !unsubscribe.includes(WILDCARD)
  return { ...state, held, wildcard, started: true }
}

function update(
  state: DeltaState,
  { available, everything }: DeltaEvent,
): Pick<DeltaStep, 'state' | 'send'> {
  if (!state.started) return { state, send: undefined }
  const held = new Map(state.held)
  const names: string[] = []
  const removed: string[] = []
  for (const [name, version] of held) {
    const newest = available.get(name)
    if (newest === undefined && version !== undefined) removed.push(name)
    else if (newest !== undefined && newest !== version) names.push(name)
  }
  if (state.wildcard) names.push(...everything.filter((name) => !held.has(name)))
  for (const name of names) held.set(name, available.get(name))
  for (const name of removed) held.set(name, undefined)
  const send = names.length + removed.length > 0 ? { names, removed } : undefined
  return { state: { ...state, held, sent: state.sent + (send ? 1 : 0) }, send }
}
