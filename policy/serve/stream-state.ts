/**
 * One stream's versions and nonces, as a pure step: state and event in, state and consequences out.
 *
 * A version is sent once; it is sent again only after it changed, or when the sidecar subscribes
 * anew. A few responses may be unanswered at a time, and then nothing is sent until one is: a slow
 * sidecar gets the newest state later rather than every state in turn.
 */

/** Names that one stream may subscribe to. */
export const MAX_SUBSCRIPTIONS = 10_000
/** Responses that may wait for their answer. */
export const MAX_OUTSTANDING = 8
/** Characters of a reason that are kept. */
export const MAX_REASON_LENGTH = 2000

export interface ResourceState {
  /** Version last sent, or held when the stream began; empty: none. */
  readonly sent: string
  /** Version last acknowledged; empty: none. */
  readonly applied: string
  /** The last refusal, until a version is acknowledged. */
  readonly rejected?: { readonly version: string; readonly reason: string }
}

export interface StreamState {
  readonly resources: ReadonlyMap<string, ResourceState>
  /** Versions by name, by nonce of the response that carried them. */
  readonly outstanding: ReadonlyMap<string, ReadonlyMap<string, string>>
  /** Responses so far. */
  readonly responses: number
}

/** What a sidecar says, the wire forgotten. */
export interface StreamMessage {
  readonly subscribe: readonly string[]
  readonly unsubscribe: readonly string[]
  readonly held: ReadonlyMap<string, string>
  /** Empty: it answers nothing. */
  readonly nonce: string
  readonly rejected: ReadonlyMap<string, string>
  /** Issuers whose keys have changed before they were fetched again. */
  readonly keysWanted: readonly string[]
}

export interface Answer {
  readonly kind: 'applied' | 'rejected'
  readonly name: string
  readonly version: string
  readonly reason?: string
}

export const EMPTY_STREAM: StreamState = {
  resources: new Map(),
  outstanding: new Map(),
  responses: 0,
}

/** Takes in a message. Answers to a nonce that is not outstanding are ignored. */
export function receive(
  state: StreamState,
  message: StreamMessage,
):
  | { readonly kind: 'ok'; readonly state: StreamState; readonly answers: readonly Answer[] }
  | { readonly kind: 'too-many' } {
  const answered = answer(state, message)
  const resources = new Map(answered.state.resources)
  for (const name of message.unsubscribe) resources.delete(name)
  for (const name of message.subscribe) {
    const held = message.held.get(name) ?? ''
    resources.set(name, { ...(resources.get(name) ?? { applied: held }), sent: held })
  }
  if (resources.size > MAX_SUBSCRIPTIONS) return { kind: 'too-many' }
  return { kind: 'ok', state: { ...answered.state, resources }, answers: answered.answers }
}

function answer(
  state: StreamState,
  { nonce, rejected }: StreamMessage,
): { readonly state: StreamState; readonly answers: readonly Answer[] } {
  const carried = nonce === '' ? undefined : state.outstanding.get(nonce)
  if (!carried) return { state, answers: [] }

  const resources = new Map(state.resources)
  const answers: Answer[] = []
  for (const [name, version] of carried) {
    const resource = resources.get(name)
    if (!resource) continue
    const reason = rejected.get(name)?.slice(0, MAX_REASON_LENGTH)
    const { sent, applied } = resource
    if (reason === undefined) {
      resources.set(name, { sent, applied: version })
      answers.push({ kind: 'applied', name, version })
    } else {
      resources.set(name, { sent, applied, rejected: { version, reason } })
      answers.push({ kind: 'rejected', name, version, reason })
    }
  }
  const outstanding = new Map(state.outstanding)
  outstanding.delete(nonce)
  return { state: { ...state, resources, outstanding }, answers }
}

/** Whether a response may be sent now. */
export function maySend({ outstanding }: StreamState): boolean {
  return outstanding.size < MAX_OUTSTANDING
}

/** Records a response with `versions` and `removed`; its nonce, which begins with `prefix`, is in the result. */
export function send(
  state: StreamState,
  versions: ReadonlyMap<string, string>,
  removed: readonly string[],
  prefix: string,
): { readonly state: StreamState; readonly nonce: string } {
  const responses = state.responses + 1
  const nonce = `${prefix}${responses}`
  const resources = new Map(state.resources)
  for (const [name, version] of versions) {
    const resource = resources.get(name)
    if (resource) resources.set(name, { ...resource, sent: version })
  }
  for (const name of removed) resources.set(name, { sent: '', applied: '' })
  const outstanding = new Map(state.outstanding).set(nonce, versions)
  return { state: { resources, outstanding, responses }, nonce }
}
