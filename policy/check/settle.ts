/** From an engine's decision to what a caller would see (§4), with external providers' answers given. */
import type {
  Allowed,
  AskProvider,
  Connection,
  Decision,
  Denied,
  Engine,
  HttpAttributes,
  MtlsMode,
} from '../model/index.ts'
import type { AskCasbin } from './ask-casbin.ts'
import type { CheckQuery, CheckResult } from './query.ts'

/** An attempt, and the engine that answers for it. */
export interface Answer {
  readonly engine: Engine
  readonly connection: Connection
  /** `undefined` on TCP. */
  readonly http: HttpAttributes | undefined
  readonly isGrpc: boolean
  readonly mtlsMode: MtlsMode
  readonly askCasbin: AskCasbin
  /** Where tokens were looked for: the request before that, and what became of them. */
  readonly token:
    | {
        readonly before: HttpAttributes
        readonly refused:
          | { readonly reason: string; readonly status: 401 | 403; readonly message: string }
          | undefined
      }
    | undefined
}

export function settle(attempt: Answer, { providers = {} }: CheckQuery): CheckResult {
  const decide = attempt.engine(attempt.connection)
  if (attempt.token === undefined) return resultOf(decide(attempt.http), attempt, providers)
  // CUSTOM sees the request as it came, all others what the token made of it (§1.3).
  const { before, refused } = attempt.token
  let early = decide(before)
  while (early.kind === 'ask' && answerOf(early, attempt, providers) === 'allow') {
    early = early.proceed()
  }
  if (early.kind === 'ask') return asked(early, attempt, providers)
  if (early.kind === 'deny' && early.action === 'CUSTOM') return denied(early, attempt)
  if (refused !== undefined) return tokenRefused(refused, attempt)
  let late = decide(attempt.http)
  while (late.kind === 'ask') late = late.proceed()
  return resultOf(late, attempt, providers)
}

type Refused = NonNullable<NonNullable<Answer['token']>['refused']>

function tokenRefused({ reason, status, message }: Refused, attempt: Answer): CheckResult {
  const nobody = { dryRun: [], audit: [] }
  const none = { ...common(nobody, attempt), action: 'none', policy: null, rule: null } as const
  if (reason === 'keys-missing') {
    return { ...none, decision: 'error', status: null, reason: 'needs-keys' }
  }
  return { ...none, ...refusal(attempt, status), reason: 'token-refused', detail: message }
}

/** What was said on the command line goes first; a CasbinPolicy also goes by its name alone. */
function answerOf(
  { provider }: AskProvider,
  { connection, http, token, askCasbin }: Answer,
  providers: Answers,
): 'allow' | 'deny' | undefined {
  for (const name of [provider, provider.slice(provider.indexOf('/') + 1)]) {
    if (Object.hasOwn(providers, name)) return providers[name]
  }
  // It sees the request as it came (§1.3).
  return askCasbin(provider, { connection, http: token?.before ?? http })
}

type Answers = Readonly<Record<string, 'allow' | 'deny'>>

function resultOf(decision: Decision, attempt: Answer, providers: Answers): CheckResult {
  switch (decision.kind) {
    case 'allow':
      return allowed(decision, attempt)
    case 'deny':
      return denied(decision, attempt)
    case 'ask':
      return asked(decision, attempt, providers)
    default:
      return decision satisfies never
  }
}

function allowed(decision: Allowed, attempt: Answer): CheckResult {
  const { policy, rule } = decision.permit
  const by =
    policy === null
      ? ({ action: 'none', reason: 'no-policy-applies' } as const)
      : ({ action: 'ALLOW', reason: 'allowed-by-policy' } as const)
  return { ...common(decision, attempt), ...by, decision: 'allow', status: null, policy, rule }
}

function denied(decision: Denied, attempt: Answer): CheckResult {
  const { policy, rule, reason, considered } = decision
  const early = reason === 'ambiguous-path'
  return {
    ...common(decision, attempt),
    ...refusal(attempt, early ? 400 : 403),
    action: early ? 'none' : decision.action,
    policy,
    rule,
    reason,
    ...(reason === 'no-allow-matched' ? { considered } : {}),
  }
}

function asked(decision: AskProvider, attempt: Answer, providers: Answers): CheckResult {
  const { provider, policy, rule, proceed } = decision
  const answer = answerOf(decision, attempt, providers)
  if (answer === 'allow') return resultOf(proceed(), attempt, providers)
  const base = { ...common(decision, attempt), action: 'CUSTOM', policy, rule } as const
  if (answer === 'deny') {
    return { ...base, ...refusal(attempt, 403), reason: 'denied-by-provider' }
  }
  return { ...base, decision: 'error', status: null, reason: 'needs-provider', choices: [provider] }
}

function common(
  { dryRun, audit }: Pick<Decision, 'dryRun' | 'audit'>,
  { http, mtlsMode }: Answer,
): Pick<CheckResult, 'normalizedPath' | 'mtlsMode' | 'dryRun' | 'audit'> {
  return { normalizedPath: http?.path ?? null, mtlsMode, dryRun, audit }
}

/** Before policy the codec answers, in HTTP's own words; a policy's refusal of gRPC is status 200 with `grpc-status`. */
function refusal(
  { http, isGrpc }: Answer,
  status: 400 | 401 | 403,
): Pick<CheckResult, 'decision' | 'status' | 'grpcStatus'> {
  if (http === undefined) return { decision: 'deny', status: null }
  if (isGrpc && status !== 400) {
    return { decision: 'deny', status: 200, grpcStatus: status === 401 ? 16 : 7 }
  }
  return { decision: 'deny', status }
}
