/** Messages of the policy stream, to and from what the rest of this folder speaks. */
import type { StreamRequest, StreamResponse } from '#policy/proto/gen/policy.ts'

/** A refusal of one resource. */
export interface Refusal {
  readonly name: string
  readonly version: string
  /** For people. */
  readonly reason: string
}

export interface Received {
  readonly nonce: string
  readonly resources: readonly {
    readonly name: string
    readonly version: string
    readonly body: Uint8Array
  }[]
  readonly removed: readonly string[]
}

/** Characters of a reason that are sent; it may quote what an operator wrote. */
const MAX_REASON = 2000

const EMPTY: StreamRequest = {
  node: undefined,
  subscribe: [],
  unsubscribe: [],
  held: {},
  responseNonce: '',
  rejected: [],
  keysWanted: [],
}

/** Names in one message; the policy server takes no more than 2000. */
const MAX_NAMES = 1000

/** The messages that begin a stream: who we are, and all that is subscribed to with the version held, '' for none. */
export function hellosToProto(
  workload: { readonly namespace: string; readonly name: string },
  resources: readonly { readonly name: string; readonly applied: string }[],
): readonly StreamRequest[] {
  const { namespace, name } = workload
  const hellos: StreamRequest[] = []
  for (let from = 0; from < resources.length; from += MAX_NAMES) {
    const some = resources.slice(from, from + MAX_NAMES)
    const held = some.filter(({ applied }) => applied !== '')
    hellos.push({
      ...EMPTY,
      node: from === 0 ? { namespace, workload: name, version: '' } : undefined,
      subscribe: some.map((one) => one.name),
      held: Object.fromEntries(held.map((one) => [one.name, one.applied])),
    })
  }
  return hellos
}

export function subscribeToProto(subscribe: readonly string[]): StreamRequest {
  return { ...EMPTY, subscribe }
}

export function unsubscribeToProto(unsubscribe: readonly string[]): StreamRequest {
  return { ...EMPTY, unsubscribe }
}

/** The keys of an issuer have changed before they were fetched again. */
export function keysWantedToProto(issuer: string): StreamRequest {
  return { ...EMPTY, keysWanted: [issuer] }
}

/** An ACK, or with `refused` a NACK for each. */
export function answerToProto(nonce: string, refused: readonly Refusal[]): StreamRequest {
  const rejected = refused.map((one) => ({ ...one, reason: one.reason.slice(0, MAX_REASON) }))
  return { ...EMPTY, responseNonce: nonce, rejected }
}

/** Every field may be absent on the wire, and then has the wire's zero. */
export function receivedFromProto({ nonce, resources, removed }: StreamResponse): Received {
  return { nonce, resources, removed }
}
