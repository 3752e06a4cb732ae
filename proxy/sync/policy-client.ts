import type { ClientDuplexStream } from '@grpc/grpc-js'
import { svidChannelCredentials, type Svid } from '#agent/client/index.ts'
import type { SpiffeId } from '#ca/spiffe/index.ts'
import type { Live } from '#core/live.ts'
import { MAX_BUNDLE_BYTES } from '#policy/model/index.ts'
import {
  PolicyDiscoveryClient,
  type StreamRequest,
  type StreamResponse,
} from '#policy/proto/gen/policy.ts'

export interface PolicyClientOptions {
  readonly svid: Live<Svid>
  /** `host:port`. */
  readonly address: string
  readonly policyId: SpiffeId
  readonly now: () => Temporal.Instant
}

/** One stream over a connection of its own. */
export interface PolicyConnection extends Disposable {
  readonly stream: ClientDuplexStream<StreamRequest, StreamResponse>
  /** Whether the server has proved who it is and HTTP/2 is up. */
  readonly isUp: () => boolean
}

/** State of a channel that is connected (gRPC's `ConnectivityState.READY`). */
const READY = 2

/**
 * Begins a connection and a stream on it. Each has its own channel, so that waiting between attempts
 * is ours alone to decide; the newest SVID is used each time.
 */
export function connectPolicy(options: PolicyClientOptions): PolicyConnection {
  const { svid, address, policyId: serverId, now } = options
  const bundles = () => svid.current.bundles
  const client = new PolicyDiscoveryClient(
    address,
    svidChannelCredentials({ svid, bundles, serverId, now }),
    {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
      'grpc.max_receive_message_length': 4 * MAX_BUNDLE_BYTES,
      // A server whose machine vanished says nothing at all.
      'grpc.keepalive_time_ms': 20_000,
      'grpc.keepalive_timeout_ms': 5_000,
    },
  )
  const stream = client.stream()
  // What fails is seen by whoever reads the stream; an error after that has nobody left to tell.
  stream.on('error', () => {})
  return {
    stream,
    isUp: () => client.getChannel().getConnectivityState(false) === READY,
    [Symbol.dispose]() {
      stream.cancel()
      client.close()
    },
  }
}
