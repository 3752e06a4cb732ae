/**
 * The streams of the SPIFFE Workload API, X.509 and JWT.
 *
 * @see SPIFFE Workload API §5, SPIFFE Workload Endpoint
 */
import type {
  handleServerStreamingCall,
  Metadata,
  ServerWritableStream,
  ServiceDefinition,
} from '@grpc/grpc-js'
import { jwtKeysText } from '#ca/jwt/index.ts'
import type { Clock } from '#core/clock.ts'
import type { CallerCall, Callers, CallerSession } from '../callers.ts'
import type { TokenCache } from '../jwt/token-cache.ts'
import {
  type JWTBundlesResponse,
  type SpiffeWorkloadAPIServer,
  SpiffeWorkloadAPIService,
  type X509BundlesResponse,
} from '../proto/gen/workload.ts'
import { statusFromError } from '../status.ts'
import {
  type WatchIdentityDeps,
  watchIdentity,
  type WorkloadIdentity,
} from '../svid/watch-identity.ts'
import type { Trust } from '../trust/trust.ts'
import { write } from '../write.ts'
import { checkHeader } from './header.ts'
import { answer, fetchToken, validateToken } from './jwt.ts'
import { encodeIdentity } from './encode.ts'
import { bundlesToProto, jwtBundlesToProto } from './to-proto.ts'

export interface WorkloadApiDeps extends WatchIdentityDeps {
  readonly callers: Callers
  readonly trust: Trust
  readonly tokens: TokenCache
  readonly clock: Clock
  readonly refused: (api: 'workload', cause: unknown) => void
}

/** The service of the `.proto`, with SVIDs that are encoded by {@link encodeIdentity}. */
export const workloadApiService: ServiceDefinition = {
  ...SpiffeWorkloadAPIService,
  fetchX509Svid: { ...SpiffeWorkloadAPIService.fetchX509Svid, responseSerialize: encodeIdentity },
}

type Generated = Pick<
  SpiffeWorkloadAPIServer,
  'fetchX509Bundles' | 'fetchJwtBundles' | 'fetchJwtsvid' | 'validateJwtsvid'
>

/** What answers each method. */
export type WorkloadApiCalls = Generated & {
  readonly fetchX509Svid: handleServerStreamingCall<unknown, WorkloadIdentity>
}

/**
 * Every method: check the header, identify the caller, then answer; streams at every change. An answer is
 * made when it is written: a stream that waits for the next change keeps no copy of the last, nor of its key.
 */
export function workloadApiCalls(deps: WorkloadApiDeps): WorkloadApiCalls {
  return {
    fetchX509Svid: (call) => void serve(deps, call, (session) => svids(deps, session)),
    fetchX509Bundles: (call) => void serve(deps, call, (session) => bundles(deps, session)),
    fetchJwtBundles: (call) => void serve(deps, call, (session) => jwtBundles(deps, session)),
    fetchJwtsvid: (call, respond) => answer(deps, call, respond, fetchToken),
    validateJwtsvid: (call, respond) => answer(deps, call, respond, validateToken),
  }
}

type Stream<Response> = CallerCall &
  Pick<ServerWritableStream<unknown, Response>, 'write' | 'end' | 'emit' | 'once' | 'off'> & {
    readonly metadata: Metadata
  }

async function serve<Response>(
  { callers, refused }: WorkloadApiDeps,
  call: Stream<Response>,
  responses: (session: CallerSession) => AsyncIterable<() => Response>,
): Promise<void> {
  try {
    checkHeader(call.metadata)
    using session = callers.open(call)
    for await (const response of responses(session)) {
      // The caller may have lost its identity since; what is not its own any more is not sent.
      await session.identify()
      await write(call, response(), session.signal)
    }
    session.throwIfUnknown()
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
): AsyncGenerator<() => WorkloadIdentity, void> {
  const id = await session.identify()
  for await (const identity of watchIdentity(deps, id, session.signal)) {
    yield () => identity
  }
}

async function* bundles(
  { bundle }: WorkloadApiDeps,
  session: CallerSession,
): AsyncGenerator<() => X509BundlesResponse, void> {
  await session.identify()
  for await (const current of bundle.changes(session.signal)) yield () => bundlesToProto(current)
}

/** Silent until the CA has said which keys there are; then whenever they change. */
async function* jwtBundles(
  { bundle }: WorkloadApiDeps,
  session: CallerSession,
): AsyncGenerator<() => JWTBundlesResponse, void> {
  await session.identify()
  let seen: string | undefined
  for await (const own of bundle.changes(session.signal)) {
    if (!own.jwtKeys) continue
    const sets = [own, ...(own.federated ?? [])].map(
      ({ trustDomain, jwtKeys = [] }) => [trustDomain, jwtKeysText(jwtKeys)] as const,
    )
    const text = sets.flat().join(' ')
    if (text === seen) continue
    seen = text
    yield () => jwtBundlesToProto(sets)
  }
}
