import type { ServerDuplexStream } from '@grpc/grpc-js'
import type {
  DeltaDiscoveryRequest,
  DeltaDiscoveryResponse,
} from '../proto/gen/envoy/service/discovery/v3/discovery.ts'
import { write } from '../write.ts'
import { eitherEnds } from './either-ends.ts'
import { checkRequest, type SdsDeps, type SecretSession } from './session.ts'
import { requestsOf } from './requests.ts'
import { everyName, secretsOf, selectSecrets, versionOf } from './secrets.ts'
import { DELTA_START, type DeltaEvent, type DeltaStep, stepDelta, type Versions } from './step.ts'
import { SECRET_TYPE, secretToProto, type Validation, validationOf } from './to-proto.ts'

/** Drives one incremental stream until the client ends it or the caller's signal aborts. */
export async function serveDelta(
  deps: SdsDeps,
  call: ServerDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>,
  { id, first, next, caller }: SecretSession,
): Promise<void> {
  let state = DELTA_START
  let current = first
  let validation: Validation = 'spiffe'

  const apply = async (event: DeltaEvent): Promise<void> => {
    const step = stepDelta(state, event)
    if (event.kind === 'request') report(deps, id, step, event)
    state = step.state
    if (step.send) await send(step.send, String(state.sent))
  }

  const send = async (
    { names, removed }: NonNullable<DeltaStep['send']>,
    nonce: string,
  ): Promise<void> => {
    const refs = names.length > 0 ? selectSecrets(names, current) : []
    const resources = refs.map((ref) => ({
      name: ref.name,
      version: ref.version,
      resource: secretToProto(ref, current, validation),
    }))
    await caller.identify()
    const response = {
      systemVersionInfo: versionOf(refs),
      resources,
      typeUrl: SECRET_TYPE,
      nonce,
      removedResources: removed,
    }
    await write(call, response, caller.signal)
  }

  const listen = async (): Promise<void> => {
    for await (const request of requestsOf(call)) {
      const { typeUrl, node, resourceNamesSubscribe: subscribe } = request
      checkRequest(typeUrl, subscribe)
      if (node) validation = validationOf(node)
      // Refuses names that it may not have.
      selectSecrets(
        subscribe.filter((name) => name !== '*'),
        current,
      )
      await apply({
        kind: 'request',
        subscribe,
        unsubscribe: request.resourceNamesUnsubscribe,
        initial: new Map(Object.entries(request.initialResourceVersions)),
        nonce: request.responseNonce,
        error: request.errorDetail?.message,
        available: versions(),
        everything: everyName(current),
      })
    }
  }

  const versions = (): Versions =>
    new Map([...secretsOf(current).values()].map(({ name, version }) => [name, version]))

  const push = async (): Promise<void> => {
    for await (const identity of next) {
      current = identity
      await apply({ kind: 'content', available: versions(), everything: everyName(current) })
    }
  }

  await eitherEnds(listen(), push())
}

function report(
  deps: SdsDeps,
  id: SecretSession['id'],
  { heard }: DeltaStep,
  { nonce, error = '' }: Extract<DeltaEvent, { kind: 'request' }>,
): void {
  if (heard === 'rejected') deps.rejected(id, nonce, error)
  if (heard === 'stale') deps.stale(id, nonce)
}
