/** Envoy's secret discovery service on the agent's socket. */
import type { CallerCall } from '../callers.ts'
import type {
  DiscoveryRequest,
  DiscoveryResponse,
} from '../proto/gen/envoy/service/discovery/v3/discovery.ts'
import type { SecretDiscoveryServiceServer } from '../proto/gen/envoy/service/secret/v3/sds.ts'
import { statusFromError } from '../status.ts'
import { serveDelta } from './delta.ts'
import { selectSecrets } from './secrets.ts'
import { checkRequest, openSession, type SdsDeps, type SecretSession } from './session.ts'
import { serveStream } from './stream.ts'
import { SECRET_TYPE, secretToProto, validationOf } from './to-proto.ts'

/** Elapsed milliseconds that a unary call waits for a first SVID. */
const FETCH_WAIT_MS = 5000

export function createSds(deps: SdsDeps): SecretDiscoveryServiceServer {
  return {
    streamSecrets: (call) => void stream(deps, call, (session) => serveStream(deps, call, session)),
    deltaSecrets: (call) => void stream(deps, call, (session) => serveDelta(deps, call, session)),
    fetchSecrets: (call, respond) =>
      void unary(deps, call).then(
        (response) => respond(null, response),
        (cause: unknown) => respond(failure(deps, cause)),
      ),
  }
}

type Stream = CallerCall & {
  readonly end: () => unknown
  readonly emit: (event: 'error', cause: unknown) => unknown
}

async function stream(
  deps: SdsDeps,
  call: Stream,
  run: (session: SecretSession) => Promise<void>,
): Promise<void> {
  try {
    using caller = deps.callers.open(call)
    const session = await openSession(deps, caller)
    await run(session)
    caller.throwIfUnknown()
    call.end()
  } catch (cause) {
    if (!call.cancelled) call.emit('error', failure(deps, cause))
  }
}

/** A unary answer has neither version nor nonce: there is nothing to acknowledge. */
async function unary(
  deps: SdsDeps,
  call: CallerCall & { readonly request: DiscoveryRequest },
): Promise<DiscoveryResponse> {
  const { request } = call
  checkRequest(request.typeUrl, request.resourceNames)
  using caller = deps.callers.open(call)
  void deps.clock.sleep(FETCH_WAIT_MS, caller.signal).then(
    () => caller[Symbol.dispose](),
    () => {},
  )
  const { first, next } = await openSession(deps, caller)
  await next.return()
  const validation = validationOf(request.node)
  const resources = selectSecrets(request.resourceNames, first).map((ref) =>
    secretToProto(ref, first, validation),
  )
  return { versionInfo: '', resources, typeUrl: SECRET_TYPE, nonce: '' }
}

function failure({ refused }: SdsDeps, cause: unknown): ReturnType<typeof statusFromError> {
  refused('sds', cause)
  return statusFromError(cause)
}
