/** From an engine's decision to what a caller would see (§4), with external providers' answers given. */
import type { Connection, Decision, Engine, HttpAttributes, MtlsMode } from '../model/index.ts'
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

function resultOf(
  decision: Decision,
  attempt: Answer,
  providers: Readonly<Record<string, 'allow' | 'deny'>>,
): CheckResult {
  switch (decision.kind) {
    case 'allow': {
      const { policy, rule } = decision.permit
      const [action, reason] =
        policy === null
          ? (['none', 'no-policy-applies'] as const)
          : (['ALLOW', 'allowed-by-policy'] as const)
      return {
        ...common(decision, attempt),
        decision: 'allow',
        status: null,
        action,
        policy,
        rule,
        reason,
      }
    }
    case 'deny': {
      const { policy, rule, reason, considered } = decision
      const early = reason === 'ambiguous-path'
      const action = early ? 'none' : decision.action
      return {
        ...common(decision, attempt),
        ...refusal(attempt, early ? 400 : 403),
        ...{ action, policy, rule, reason },
        ...(reason === 'no-allow-matched' ? { considered } : {}),
      }
    }
    case 'ask': {
      const { provider, policy, rule, proceed } = decision
      const answer = Object.hasOwn(providers, provider) ? providers[provider] : undefined
      if (answer === 'allow') return resultOf(proceed(), attempt, providers)
      const asked = { ...common(decision, attempt), action: 'CUSTOM', policy, rule } as const
      return answer === 'deny'
        ? { ...asked, ...refusal(attempt, 403), reason: 'denied-by-provider' }
        : {
            ...asked,
            decision: 'error',
            status: null,
            reason: 'needs-provider',
            choices: [provider],
          }
    }
    default:
      return decision satisfies never
  }
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
