/**
 * The X.509 part of the SPIFFE Workload API.
 *
 * @see SPIFFE Workload API §5, SPIFFE Workload Endpoint
 */
import type { Metadata, ServerWritableStream } from '@grpc/grpc-js'
import type { TrustBundle } from '#ca/x509/index.ts'
import type { Live } from '#core/live.ts'
import type { CallerCall, Callers, CallerSession } from '../callers.ts'
import { AgentError } from '../error.ts'
import type {
  SpiffeWorkloadAPIServer,
  X509BundlesResponse,
  X509SVIDResponse,
} from '../proto/gen/workload.ts'
import { statusFromError } from '../status.ts'
import { type WatchIdentityDeps, watchIdentity } from '../svid/watch-identity.ts'
import { write } from '../write.ts'
import { bundlesToProto, identityToProto } from './to-proto.ts'

export interface WorkloadApiDeps extends WatchIdentityDeps {
  readonly callers: Callers
  readonly bundle: Live<TrustBundle>
  readonly refused: (api: 'workload', cause: unknown) => void
}

/** Both methods: check the header, identify the caller, then the whole state at every change. */
export function createWorkloadApi(deps: WorkloadApiDeps): SpiffeWorkloadAPIServer {
  return {
    fetchX509Svid: (call) => void serve(deps, call, (session) => svids(deps, session)),
    fetchX509Bundles: (call) => void serve(deps, call, (session) => bundles(deps, session)),
  }
}

type Stream<Response> = CallerCall &
  Pick<ServerWritableStream<unknown, Response>, 'write' | 'end' | 'emit' | 'once' | 'off'> & {
    readonly metadata: Metadata
  }

async function serve<Response>(
  { callers, refused }: WorkloadApiDeps,
  call: Stream<Response>,
  responses: (session: CallerSession) => AsyncIterable<Response>,
): Promise<void> {
  try {
    checkHeader(call.metadata)
    using session = callers.open(call)
    for await (const response of responses(session)) {
      // The caller may have lost its identity since; what is not its own any more is not sent.
      await session.identify()
      await write(call, response, session.signal)
    }
    call.end()
  } catch (cause) {
    if (call.cancelled) return
    refused('workload', cause)
    call.emit('error', statusFromError(cause))
  }
}

async function* svids(
  deps: WorkloadApiDeps,
  session: CallerSession,
): AsyncGenerator<X509SVIDResponse, void> {
  const id = await session.identify()
  for await (const identity of watchIdentity(deps, id, session.signal)) {
    yield identityToProto(identity)
  }
}

async function* bundles(
  { bundle }: WorkloadApiDeps,
  session: CallerSession,
): AsyncGenerator<X509BundlesResponse, void> {
  await session.identify()
  for await (const current of bundle.changes(session.signal)) yield bundlesToProto(current)
}

/**
 * Before anything else is looked at: a request that a browser or a confused proxy was made to send
 * cannot have this header (SPIFFE Workload Endpoint §6, against request forgery).
 *
 * @throws {AgentError} `AGENT_REQUEST_INVALID`
 */
function checkHeader(metadata: Metadata): void {
  const values = metadata.get('workload.spiffe.io')
  if (values.length === 1 && values[0] === 'true') return
  throw new AgentError(
    'AGENT_REQUEST_INVALID',
    'Cannot answer: the security header is missing, expected metadata "workload.spiffe.io: true"',
  )
}
