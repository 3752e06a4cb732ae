/** JWT-SVIDs for agents: admitted like certificates, and like them signed by the CA alone. */
import { CaError } from '../error.ts'
import { type IssuedJwtSvid, type JwtSigner, signJwtSvid } from '../jwt/jwt-svid-sign.ts'
import { parseSpiffeId } from '../spiffe/index.ts'
import { type AdmitRules, assertMayHave, type Caller } from './admit.ts'
import { rateLimited } from './issue-batch.ts'
import type { SigningLimit } from './signing-limit.ts'

/** A request as it came: nothing in it is believed yet. */
export interface JwtRequest {
  readonly spiffeId: string
  readonly audience: readonly string[]
}

export interface IssueJwtDeps {
  readonly rules: AdmitRules
  readonly now: () => Temporal.Instant
  readonly jwtSigner: (now: Temporal.Instant) => JwtSigner
  readonly limit: SigningLimit
}

/** Life of a token. Short, because nothing can take one back. */
const JWT_TTL = Temporal.Duration.from({ minutes: 5 })

const MAX_AUDIENCES = 16
const MAX_AUDIENCE_BYTES = 512

/** Answers each request with a token or with the reason against it, in order. */
export function issueJwts(
  deps: IssueJwtDeps,
  caller: Caller,
  requests: readonly JwtRequest[],
): Promise<readonly (IssuedJwtSvid | CaError)[]> {
  const { granted, retryAfterMs } = deps.limit.take(caller.id, requests.length)
  return Promise.all(
    requests.map(async (request, index) => {
      if (index >= granted) return rateLimited(caller, retryAfterMs)
      try {
        return await issueOne(deps, caller, request)
      } catch (cause) {
        if (cause instanceof CaError) return cause
        throw cause
      }
    }),
  )
}

async function issueOne(
  { rules, now, jwtSigner }: IssueJwtDeps,
  caller: Caller,
  { spiffeId: text, audience }: JwtRequest,
): Promise<IssuedJwtSvid> {
  const spiffeId = parseSpiffeId(text)
  assertMayHave(spiffeId, caller, rules)
  assertAudience(audience)
  const at = now()
  const { maxLeafTtl } = rules
  const ttl = Temporal.Duration.compare(JWT_TTL, maxLeafTtl) > 0 ? maxLeafTtl : JWT_TTL
  return signJwtSvid({ spiffeId, audience }, jwtSigner(at), at, ttl)
}

function assertAudience(audience: readonly string[]): void {
  const isName = (one: string) => one !== '' && Buffer.byteLength(one) <= MAX_AUDIENCE_BYTES
  if (audience.length > 0 && audience.length <= MAX_AUDIENCES && audience.every(isName)) return
  throw new CaError(
    'CA_JWT_INVALID',
    `Cannot issue a token: it has ${audience.length} audiences, expected 1 to ${MAX_AUDIENCES} of 1 to ${MAX_AUDIENCE_BYTES} bytes`,
  )
}
