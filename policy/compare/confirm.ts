/** What the plain evaluator says of a request: every example is put to it before it is told. */
import type { CheckQuery, CheckResult } from '../check/index.ts'
import { type Attempted, createPreparer } from '../check/check.ts'
import { type Answer, settle } from '../check/settle.ts'
import { evaluateAuthorization } from '../evaluate/index.ts'
import type {
  Claims,
  Denied,
  Engine,
  HttpAttributes,
  InboundBundle,
  Intent,
} from '../model/index.ts'
import type { Verdict } from './judge.ts'
import { keyNameOf, type TokenKind, type TokenView, tokenView } from './tokens.ts'

/** The verdict on one request, and the answer that `authz check` gives. */
export interface Confirmation {
  readonly verdict: Verdict
  readonly result: CheckResult
}

/** The kind of a request's token, whose claims the query has; or none. */
export type CarriedToken = TokenKind | 'none'

/** Decides requests plainly. */
export type Confirm = (query: CheckQuery, token: CarriedToken) => Confirmation

/** A {@link Confirm} for one intent. */
export function createConfirm(intent: Intent): Confirm {
  const prepare = createPreparer(intent, keyNameOf)
  return (query, token) => {
    const prepared = prepare(query)
    if (prepared.kind === 'settled') {
      const { result } = prepared
      return { verdict: result.decision === 'allow' ? 'allow' : 'deny', result }
    }
    const answer = withToken(prepared, query, token)
    return { verdict: verdictOf(answer, query), result: settle(answer, query) }
  }
}

/** The attempt as it is once the side's rules have read the token. */
function withToken(
  { attempt, bundle }: Attempted,
  { claims = {} }: CheckQuery,
  token: CarriedToken,
): Answer {
  const engine = engineOf(bundle)
  const { http } = attempt
  if (http === undefined) return { ...attempt, engine }
  const before = { ...http, claims: undefined }
  const { isTaken, refused, dropped } = readToken(bundle, token, claims)
  const after: HttpAttributes = {
    ...before,
    header: (name) => (dropped.has(name) ? [] : before.header(name)),
    claims: isTaken ? http.claims : undefined,
  }
  return { ...attempt, engine, http: after, token: { before, refused } }
}

const engines = new WeakMap<InboundBundle, Engine>()

function engineOf(bundle: InboundBundle): Engine {
  const known = engines.get(bundle)
  if (known !== undefined) return known
  const engine = evaluateAuthorization({ ...bundle, policies: bundle.authorization })
  engines.set(bundle, engine)
  return engine
}

type Refused = NonNullable<NonNullable<Answer['token']>['refused']>

function readToken(
  bundle: InboundBundle,
  token: CarriedToken,
  claims: Claims,
): { isTaken: boolean; refused: Refused | undefined; dropped: TokenView['dropped'] } {
  const kinds = token === 'none' ? [] : [token]
  const { taken, refused, audiences, dropped } = tokenView(bundle, kinds)
  const [kind] = kinds
  if (kind === undefined) return { isTaken: false, refused: undefined, dropped }
  if (refused.has(kind.id)) {
    const message =
      kind.signed === undefined ? 'it is no token of anybody' : 'its issuer is not configured'
    return { isTaken: false, refused: { reason: 'issuer-unknown', status: 401, message }, dropped }
  }
  const wanted = audiences.get(kind.id)?.map(audienceName)
  if (taken.has(kind.id) && wanted && !audiencesOf(claims).some((one) => wanted.includes(one))) {
    const message = 'its audiences are not allowed'
    return {
      isTaken: false,
      refused: { reason: 'audience-refused', status: 403, message },
      dropped,
    }
  }
  return { isTaken: taken.has(kind.id), refused: undefined, dropped }
}

function audiencesOf({ aud }: Claims): readonly string[] {
  const list: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
  return list.flatMap((one) => (typeof one === 'string' ? [audienceName(one)] : []))
}

/** A scheme in front and one slash behind do not count (§3.1). */
function audienceName(audience: string): string {
  return audience.replace(/^https?:\/\//, '').replace(/\/$/, '')
}

/** A provider's yes that leads to a denial is a denial, whatever it says; it is asked before tokens are read. */
function verdictOf(answer: Answer, { providers = {} }: CheckQuery): Verdict {
  const decide = answer.engine(answer.connection)
  const asked: string[] = []
  let at = decide(answer.token?.before ?? answer.http)
  while (at.kind === 'ask') {
    const said = Object.hasOwn(providers, at.provider) ? providers[at.provider] : undefined
    if (said === 'deny') return 'deny'
    if (said === undefined) asked.push(at.provider)
    at = at.proceed()
  }
  if (at.kind === 'deny' && at.action === 'CUSTOM') return denialOf(at)
  if (answer.token?.refused !== undefined) return 'deny'
  let late = decide(answer.http)
  while (late.kind === 'ask') late = late.proceed()
  if (late.kind === 'deny') return denialOf(late)
  return asked.length === 0 ? 'allow' : `ask ${asked.join()}`
}

const denialOf = ({ reason }: Denied): Verdict =>
  reason === 'ambiguous-path' ? 'ambiguous' : 'deny'
