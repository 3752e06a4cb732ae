/** The unary methods of the SPIFFE Workload API: a token of the caller's, and a judgement of one. */
import type { Metadata, sendUnaryData } from '@grpc/grpc-js'
import { verifyJwtSvid } from '#ca/jwt/index.ts'
import { parseSpiffeId, type SpiffeId } from '#ca/spiffe/index.ts'
import type { CallerCall, CallerSession } from '../callers.ts'
import { AgentError } from '../error.ts'
import type { IssuedToken } from '../jwt/issued-token.ts'
import type {
  JWTSVIDRequest,
  JWTSVIDResponse,
  ValidateJWTSVIDRequest,
  ValidateJWTSVIDResponse,
} from '../proto/gen/workload.ts'
import { statusFromError } from '../status.ts'
import { checkHeader } from './header.ts'
import type { WorkloadApiDeps } from './serve.ts'

type UnaryCall<Request> = CallerCall & {
  readonly request: Request
  readonly metadata: Metadata
}

type Respond<Request, Response> = (
  deps: WorkloadApiDeps,
  request: Request,
  session: CallerSession,
) => Promise<Response>

/** Answers one unary call: the header first, then the caller, then `run`. */
export function answer<Request, Response>(
  deps: WorkloadApiDeps,
  call: UnaryCall<Request>,
  respond: sendUnaryData<Response>,
  run: Respond<Request, Response>,
): void {
  const whole = async (): Promise<Response> => {
    checkHeader(call.metadata)
    using session = deps.callers.open(call)
    await session.identify()
    return await run(deps, call.request, session)
  }
  whole().then(
    (response) => respond(null, response),
    (cause: unknown) => {
      deps.refused('workload', cause)
      respond(statusFromError(cause))
    },
  )
}

/** FetchJWTSVID: the caller has one identity, so one token. */
export async function fetchToken(
  deps: WorkloadApiDeps,
  { audience, spiffeId }: JWTSVIDRequest,
  session: CallerSession,
): Promise<JWTSVIDResponse> {
  if (audience.length === 0 || audience.includes('')) {
    throw invalid('the request has no audience, or an empty one')
  }
  const id = await session.identify()
  if (spiffeId !== '' && parseId(spiffeId) !== id) {
    throw new AgentError(
      'AGENT_PEER_UNKNOWN',
      `Cannot answer: "${spiffeId}" is not an identity of the caller`,
    )
  }
  const { token } = await withinWait(deps, deps.tokens.get(id, [...new Set(audience)]), session)
  await session.identify() // it may have lost its identity while we waited
  return { svids: [{ spiffeId: id, svid: token, hint: '' }] }
}

/** ValidateJWTSVID, by the bundle of the token's own trust domain. */
export async function validateToken(
  { trust, now }: WorkloadApiDeps,
  { audience, svid }: ValidateJWTSVIDRequest,
): Promise<ValidateJWTSVIDResponse> {
  if (audience === '') throw invalid('the request has no audience')
  if (svid === '') throw invalid('the request has no token')
  const bundle = trust.current()
  const verdict = verifyJwtSvid(svid, [bundle, ...(bundle.federated ?? [])], audience, now())
  if (verdict.kind === 'refused') {
    throw new AgentError(
      'AGENT_JWT_INVALID',
      `Cannot accept the token: ${verdict.reason}: ${verdict.detail}`,
    )
  }
  if (bundle.denies?.('spiffe-id', verdict.svid.id, now())) {
    throw new AgentError(
      'AGENT_JWT_INVALID',
      `Cannot accept the token: denied: "${verdict.svid.id}" is on the deny-list`,
    )
  }
  return { spiffeId: verdict.svid.id, claims: verdict.svid.claims }
}

/** Elapsed milliseconds that a call waits for a CA that is away. */
const WAIT_MS = 5000

async function withinWait(
  { clock }: WorkloadApiDeps,
  wanted: Promise<IssuedToken>,
  session: CallerSession,
): Promise<IssuedToken> {
  const done = new AbortController()
  const tooLong = clock.sleep(WAIT_MS, AbortSignal.any([session.signal, done.signal])).then(() => {
    throw new AgentError('AGENT_CA_UNAVAILABLE', `Cannot answer: no token within ${WAIT_MS} ms`)
  })
  tooLong.catch(() => {}) // it ends unheard once there is a token
  try {
    return await Promise.race([wanted, tooLong])
  } finally {
    done.abort()
    wanted.catch(() => {}) // others may wait for it still
  }
}

function parseId(text: string): SpiffeId {
  try {
    return parseSpiffeId(text)
  } catch (cause) {
    throw invalid(`spiffe_id is no SPIFFE ID: ${(cause as Error).message}`)
  }
}

function invalid(why: string): AgentError {
  return new AgentError('AGENT_REQUEST_INVALID', `Cannot answer: ${why}`)
}
