/** The stream by which agents follow what is trusted: roots, keys of tokens, the deny-list. */
import { once } from 'node:events'
import type { ServerDuplexStream } from '@grpc/grpc-js'

import { eitherChange, type Watched } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import type { Denials } from '../issue/denials.ts'
import type { Bundle, BundleAck } from '../proto/gen/ca.ts'
import type { SpiffeId } from '../spiffe/index.ts'
import { denyChangesSince, type TrustBundle } from '../x509/index.ts'
import { acknowledgementFromProto } from './from-proto.ts'
import type { SubscribedPeer, Subscribers, Subscription } from './subscribers.ts'
import { bundleToProto } from './to-proto.ts'

export interface BundleStreamDeps {
  readonly bundle: Watched<TrustBundle>
  readonly denials: Pick<Denials, 'list'>
  readonly subscribers: Subscribers
  readonly now: () => Temporal.Instant
  readonly log: Log
}

/**
 * Sends what is trusted at once and at every change, and takes down what the caller acknowledges. It
 * begins with the caller's first message, which says what it has; a caller who does not read gets the
 * newest once it does.
 *
 * @param signal - Ends it.
 */
export async function streamBundles(
  deps: BundleStreamDeps,
  call: ServerDuplexStream<BundleAck, Bundle>,
  peer: SubscribedPeer,
  signal: AbortSignal,
): Promise<void> {
  const { id } = peer
  using subscription = deps.subscribers.open(peer)
  const held = await firstWord(deps, call, { id, subscription }, signal)
  if (held === undefined) return
  let told = held
  for await (const _ of eitherChange(deps.bundle, deps.denials.list, signal)) {
    const changes = denyChangesSince(deps.denials.list.current, told, deps.now())
    told = changes.generation
    if (call.write(bundleToProto(deps.bundle.current, changes))) continue
    await once(call, 'drain', { signal }).catch(() => {}) // Only an abort rejects; the loop sees it.
  }
}

/** The generation of the deny-list that the caller's first message says; `undefined` if it went before. */
function firstWord(
  { log }: BundleStreamDeps,
  call: ServerDuplexStream<BundleAck, Bundle>,
  { id, subscription }: { readonly id: SpiffeId; readonly subscription: Subscription },
  signal: AbortSignal,
): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => resolve(undefined), { once: true })
    call.on('data', (message: BundleAck) => {
      try {
        const acknowledgement = acknowledgementFromProto(message)
        const { generation, denials } = acknowledgement
        log('debug', 'bundle-acknowledged', { agent: id, generation, denials })
        subscription.hear(acknowledgement)
        resolve(denials)
      } catch (cause) {
        reject(cause)
        call.emit('error', cause)
      }
    })
  })
}
