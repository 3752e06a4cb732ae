/** Asks over gRPC: Envoy's `Authorization/Check`, version 3. */
import type { GrpcAuthorizer } from '#policy/model/index.ts'
import type { EndpointState } from '../outbound/cluster-state.ts'
import { AuthorizationService } from '../proto/gen/envoy/service/auth/v3/external_auth.ts'
import { askWithin, type Send } from './attempts.ts'
import { verdictFromProto } from './from-proto.ts'
import { createGrpcChannel, type GrpcChannel } from './grpc-channel.ts'
import type { Ask, AskDeps, Verdict } from './question.ts'
import { checkRequestToProto } from './to-proto.ts'

const { path, requestSerialize, responseDeserialize } = AuthorizationService.check

/** Connections by endpoint: one that retires takes its connection along. */
const channels = new WeakMap<EndpointState, GrpcChannel>()

/** How to ask the provider of `settings`. */
export function compileAskGrpc(settings: GrpcAuthorizer): Ask {
  const { host: authority, timeoutMs, body } = settings
  const asBytes = body?.asBytes ?? false
  return (question, deps, done) => {
    const message = requestSerialize(checkRequestToProto(question, { asBytes, now: deps.now() }))
    const send: Send = (place, answered, failed) =>
      channelTo(place, deps).call(
        { path, authority, message, timeoutMs },
        {
          onMessage: (bytes) => answered(readVerdict(bytes), 200),
          onFailure: failed,
        },
      )
    return askWithin(settings, deps, send, done)
  }
}

function channelTo({ cluster, endpoint }: Parameters<Send>[0], deps: AskDeps): GrpcChannel {
  const known = channels.get(endpoint)
  if (known !== undefined) return known
  const made = createGrpcChannel(deps.hops.dialOpaque(cluster, endpoint, 'http2'), deps.wheel)
  channels.set(endpoint, made)
  return made
}

function readVerdict(bytes: Buffer): Verdict {
  try {
    return verdictFromProto(responseDeserialize(bytes))
  } catch (cause) {
    // What cannot be read is no permission, and no reason to end the process.
    return { kind: 'failed', detail: cause instanceof Error ? cause.message : String(cause) }
  }
}
