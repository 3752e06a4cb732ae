import type { ServerDuplexStream } from '@grpc/grpc-js'
import type {
  DiscoveryRequest,
  DiscoveryResponse,
} from '../proto/gen/envoy/service/discovery/v3/discovery.ts'
import { write } from '../write.ts'
import { eitherEnds } from './either-ends.ts'
import { checkRequest, type SdsDeps, type SecretSession } from './session.ts'
import { requestsOf } from './requests.ts'
import { selectSecrets, versionOf } from './secrets.ts'
import { STREAM_START, type StreamEvent, type StreamStep, stepStream } from './step.ts'
import { SECRET_TYPE, secretToProto, type Validation, validationOf } from './to-proto.ts'

/** Drives one state-of-the-world stream until the client ends it or the caller's signal aborts. */
export async function serveStream(
  deps: SdsDeps,
  call: ServerDuplexStream<DiscoveryRequest, DiscoveryResponse>,
  { id, first, next, caller }: SecretSession,
): Promise<void> {
  let state = STREAM_START
  let current = first
  let validation: Validation = 'spiffe'

  const apply = async (event: StreamEvent): Promise<void> => {
    const step = stepStream(state, event)
    if (event.kind === 'request') report(deps, id, step, event)
    state = step.state
    if (step.send) await send()
  }

  const send = async (): Promise<void> => {
    const { version, nonce, names = [] } = state
    const resources = selectSecrets(names, current).map((ref) =>
      secretToProto(ref, current, validation),
    )
    await caller.identify()
    const response = { versionInfo: version, resources, typeUrl: SECRET_TYPE, nonce }
    await write(call, response, caller.signal)
  }

  const listen = async (): Promise<void> => {
    for await (const request of requestsOf(call)) {
      const { typeUrl, resourceNames: names, responseNonce: nonce, errorDetail, node } = request
      checkRequest(typeUrl, names)
      if (node) validation = validationOf(node)
      const version = versionOf(selectSecrets(names, current))
      await apply({ kind: 'request', names, nonce, error: errorDetail?.message, version })
    }
  }

  const push = async (): Promise<void> => {
    for await (const identity of next) {
      current = identity
      const version = versionOf(selectSecrets(state.names ?? [], current))
      await apply({ kind: 'content', version })
    }
  }

  await eitherEnds(listen(), push())
}

function report(
  deps: SdsDeps,
  id: SecretSession['id'],
  step: StreamStep,
  { nonce, error = '' }: Extract<StreamEvent, { kind: 'request' }>,
): void {
  if (step.heard === 'rejected') deps.rejected(id, step.state.version, error)
  if (step.heard === 'stale') deps.stale(id, nonce)
}
