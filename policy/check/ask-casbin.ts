/** CasbinPolicies of a bundle, asked as its sidecar asks them, without a bound of time: nobody waits. */
import {
  compileOperatorPolicy,
  type OperatorDecide,
  type OperatorRequest,
} from '../casbin/operator/index.ts'
import type { InboundBundle } from '../model/index.ts'

/** What a CasbinPolicy says; `undefined`: it is another provider, or it cannot be asked here. */
export type AskCasbin = (provider: string, request: OperatorRequest) => 'allow' | 'deny' | undefined

/** Compiles each at its first question. */
export function createAskCasbin({ providers }: InboundBundle): AskCasbin {
  const compiled = new Map<string, OperatorDecide>()
  return (provider, request) => {
    const settings = Object.hasOwn(providers, provider) ? providers[provider] : undefined
    if (settings?.kind !== 'casbin' || settings.fault !== undefined) return undefined
    const decide = compiled.get(provider) ?? compileOperatorPolicy(settings, () => 0)
    compiled.set(provider, decide)
    return decide(request).allowed ? 'allow' : 'deny'
  }
}
