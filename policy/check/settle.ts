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
import type { CheckQuery, CheckResult } from './query.ts'

/** An attempt, and the engine that answers for it. */
export interface Answer {
  readonly engine: Engine
  readonly connection: Connection
  /** `undefined` on TCP. */
  readonly http: HttpAttributes | undefined
  readonly isGrpc: boolean
  readonly mtlsMode: MtlsMode
}

export function settle(attempt: Answer, { providers = {} }: CheckQuery): CheckResult {
  const decision = attempt.engine(attempt.connection)(attempt.http)
  return resultOf(decision, attempt, providers)
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
  const answer = Object.hasOwn(providers, provider) ? providers[provider] : undefined
  if (answer === 'allow') return resultOf(proceed(), attempt, providers)
  const base = { ...common(decision, attempt), action: 'CUSTOM', policy, rule } as const
  if (answer === 'deny') {
    return { ...base, ...refusal(attempt, 403), reason: 'denied-by-provider' }
  }
  return { ...base, decision: 'error', status: null, reason: 'needs-provider', choices: [provider] }
}

function common(
  { dryRun, audit }: Decision,
  { http, mtlsMode }: Answer,
): Pick<CheckResult, 'normalizedPath' | 'mtlsMode' | 'dryRun' | 'audit'> {
  return { normalizedPath: http?.path ?? null, mtlsMode, dryRun, audit }
}

/** Before policy the codec answers, in HTTP's own words; a policy's refusal of gRPC is status 200 with `grpc-status`. */
function refusal(
  { http, isGrpc }: Answer,
  status: 400 | 403,
): Pick<CheckResult, 'decision' | 'status' | 'grpcStatus'> {
  if (http === undefined) return { decision: 'deny', status: null }
  if (isGrpc && status === 403) return { decision: 'deny', status: 200, grpcStatus: 7 }
  return { decision: 'deny', status }
}
