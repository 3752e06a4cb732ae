/** Whom the CUSTOM policies of one workload may ask (istio-semantics §1.11). */
import type { AuthorizationPolicy } from '../model/authorization.ts'
import type { InboundBundle } from '../model/bundle.ts'
import type { ExtensionProvider } from '../model/extension-provider.ts'
import type { Intent, NamedProvider } from '../model/intent.ts'
import { assembleCasbin, casbinName, type CasbinRows, meantCasbin } from './casbin.ts'
import { lookupOf } from './lookup.ts'

type Providers = InboundBundle['providers']

/**
 * Those that `policies` name and that can be asked, by name. One whose service is not there, or is in
 * several namespaces, cannot; and none can where there are several and the mesh is not told to take several.
 */
export function assembleProviders(
  intent: Intent,
  policies: readonly AuthorizationPolicy[],
  rowsOf: CasbinRows,
): Providers {
  const wanted = namesOf(policies)
  if (tooMany(intent, wanted)) return {}
  const { extensionProviders: known = [] } = intent.mesh
  const services = known.filter((one) => wanted.has(one.name) && isReachable(intent, one))
  const own = intent.casbinPolicies.filter((one) => wanted.has(casbinName(one)))
  return {
    ...Object.fromEntries(services.map(({ name, settings }) => [name, settings])),
    ...Object.fromEntries(
      own.flatMap((one): [string, ExtensionProvider][] => {
        const decider = assembleCasbin(intent, one, rowsOf)
        return decider === undefined ? [] : [[casbinName(one), decider]]
      }),
    ),
  }
}

/** The policy with the provider that it means: a CasbinPolicy goes by its namespace too. */
export function withMeantProvider(
  intent: Intent,
  policy: AuthorizationPolicy,
): AuthorizationPolicy {
  if (intent.casbinPolicies.length === 0) return policy
  const meant = meantCasbin(intent, policy)
  return meant === undefined ? policy : { ...policy, provider: casbinName(meant) }
}

/**
 * `bundle` for questions about manifests, which may not be the whole mesh: providers that were `named`
 * are there, those whose lines are in a database, and where no manifest says anything of providers, all.
 */
export function withAssumedProviders<B extends InboundBundle | undefined>(
  intent: Intent,
  bundle: B,
  named: readonly string[],
): B {
  if (bundle === undefined) return bundle
  const wanted = namesOf(bundle.authorization)
  if (tooMany(intent, wanted)) return bundle
  const isSilent = intent.mesh.extensionProviders === undefined
  const inDatabase = intent.casbinPolicies.filter(({ policy }) => policy.kind === 'postgres')
  const unread = new Set(inDatabase.map(casbinName))
  const isNamed = (name: string): boolean =>
    named.includes(name) || named.includes(name.slice(name.indexOf('/') + 1))
  const assumed = [...wanted].filter(
    (name) => (isSilent && !name.includes('/')) || unread.has(name) || isNamed(name),
  )
  const missing = assumed.filter((name) => !Object.hasOwn(bundle.providers, name))
  if (missing.length === 0) return bundle
  const added = Object.fromEntries(missing.map((name) => [name, ASSUMED]))
  return { ...bundle, providers: { ...bundle.providers, ...added } }
}

/** Answers for HTTP and TCP, and is asked by nobody. */
const ASSUMED: ExtensionProvider = {
  kind: 'grpc',
  host: '',
  port: 1,
  timeoutMs: 1,
  failOpen: false,
  statusOnError: 403,
}

/** Of policies in force: a dry-run one asks nobody. */
function namesOf(policies: readonly AuthorizationPolicy[]): ReadonlySet<string> {
  return new Set(policies.flatMap(({ dryRun, provider }) => (dryRun ? [] : (provider ?? []))))
}

function tooMany({ mesh }: Intent, wanted: ReadonlySet<string>): boolean {
  return wanted.size > 1 && !mesh.severalProviders
}

/** Whether the service of a provider is there, and told apart from others. */
export function isReachable(
  intent: Intent,
  { namespace, settings: { host } }: NamedProvider,
): boolean {
  const { services, entries } = lookupOf(intent)
  const service = services.get(host)
  const places = new Set([
    ...(service === undefined ? [] : [service.namespace]),
    ...(entries.get(host) ?? []).map((entry) => entry.namespace),
  ])
  return namespace === undefined ? places.size === 1 : places.has(namespace)
}
