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
}

/** The first message of a stream. */
export function helloToProto(
  workload: { readonly namespace: string; readonly name: string },
  subscribe: readonly string[],
  held: ReadonlyMap<string, string>,
): StreamRequest {
  const { namespace, name } = workload
  return {
    ...EMPTY,
    node: { namespace, workload: name, version: '' },
    subscribe,
    held: Object.fromEntries(held),
  }
}

export function subscribeToProto(subscribe: readonly string[]): StreamRequest {
  return { ...EMPTY, subscribe }
}

export function unsubscribeToProto(unsubscribe: readonly string[]): StreamRequest {
  return { ...EMPTY, unsubscribe }
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
