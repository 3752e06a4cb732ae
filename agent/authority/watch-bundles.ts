/** The stream by which the CA tells what is trusted, and hears how far this node has come. */
import type { ClientDuplexStream } from '@grpc/grpc-js'
import type { Bundle, BundleAck, Subscriber } from '#ca/proto/gen/ca.ts'
import type { TrustDomain } from '#ca/spiffe/index.ts'
import type { Clock } from '#core/clock.ts'
import { denyChangesFromProto } from '../trust/deny-changes.ts'
import type { FollowerReport, Followers } from '../trust/followers.ts'
import type { TrustSource } from '../trust/trust.ts'
import { bundleFromProto } from './from-proto.ts'

export interface WatchBundlesDeps {
  readonly trustDomain: TrustDomain
  /** What this agent calls itself in the CA's listings. */
  readonly name: string
  readonly trust: TrustSource
  readonly followers: Followers
  readonly clock: Clock
}

/** Milliseconds in which the acknowledgements of sidecars are gathered into one message. */
const GATHER_MS = 20

/**
 * Takes each message and acknowledges it once it is in force; ends when the stream does.
 *
 * @param taken - Told of each message that was in order.
 * @throws {AgentError} `AGENT_BUNDLE_INVALID`: what was there is in force still, and nothing acknowledged
 */
export async function watchBundles(
  deps: WatchBundlesDeps,
  stream: ClientDuplexStream<BundleAck, Bundle>,
  taken: () => void,
  signal: AbortSignal,
): Promise<void> {
  const ended = new AbortController()
  const cancel = (): void => stream.cancel()
  signal.addEventListener('abort', cancel, { once: true })
  const report = acknowledge(deps, stream, AbortSignal.any([signal, ended.signal]))
  report.catch(() => {}) // it ends with the stream
  try {
    for await (const message of stream as AsyncIterable<Bundle>) {
      take(deps, message)
      taken()
      stream.write(standingOf(deps, []))
    }
  } finally {
    ended.abort()
    signal.removeEventListener('abort', cancel)
    stream.cancel()
  }
}

function take({ trust, trustDomain }: WatchBundlesDeps, message: Bundle): void {
  const { generation: after } = trust.bundle.current
  const bundle = bundleFromProto(message, { trustDomain, after })
  trust.take(bundle, denyChangesFromProto(message.denials))
}

/** Says first what is in force here and at every sidecar, and then what changes at sidecars. */
async function acknowledge(
  deps: WatchBundlesDeps,
  stream: ClientDuplexStream<BundleAck, Bundle>,
  signal: AbortSignal,
): Promise<void> {
  for await (const reports of deps.followers.reports(signal)) {
    stream.write(standingOf(deps, reports))
    await deps.clock.sleep(GATHER_MS, signal)
  }
}

function standingOf(
  { trust, name }: WatchBundlesDeps,
  reports: readonly FollowerReport[],
): BundleAck {
  return {
    generation: BigInt(trust.bundle.current.generation),
    denials: BigInt(trust.denials.current.generation),
    name,
    subscribers: reports.map(subscriberOf),
  }
}

function subscriberOf({ number, follower }: FollowerReport): Subscriber {
  const { id = '', name = '', generation = 0, denials = 0 } = follower ?? {}
  return {
    number: BigInt(number),
    spiffeId: id,
    name,
    generation: BigInt(generation),
    denials: BigInt(denials),
    gone: follower === undefined,
  }
}
