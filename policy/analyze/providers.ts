/** Whom CUSTOM policies ask, and whether there is anybody (§1.11). */
import { casbinName, meantCasbin, textOf } from '../assemble/casbin.ts'
import { isReachable } from '../assemble/providers.ts'
import { readOperatorModel, readPolicyLines } from '../casbin/operator/index.ts'
import type { PathKey } from '../dialects/pointer.ts'
import { suggest } from '../dialects/suggest.ts'
import type { AuthorizationIntent, CasbinPolicy, Intent } from '../model/index.ts'
import type { Draft } from './finding.ts'
import { namesOf, type Scene, sidecarPolicies, subjectOf } from './scene.ts'

const PROVIDER = ['spec', 'provider', 'name']
const DENIED = 'what the policy matches is denied'

/** RDB0023 */
export function findMissingProviders(scene: Scene): readonly Draft[] {
  const { intent } = scene
  return customPolicies(scene).flatMap((one): readonly Draft[] => {
    const { provider = '' } = one.policy
    const known = intent.mesh.extensionProviders ?? []
    const named = known.find(({ name }) => name === provider)
    if (named !== undefined) {
      if (isReachable(intent, named)) return []
      const { host } = named.settings
      const message = `provider ${provider} is the service ${host}, which no manifest has: ${DENIED}`
      const hint =
        'add the Service or ServiceEntry, or name it as namespace/host if there are several'
      return [draftOf('RDB0023', one, message, hint)]
    }
    if (meantCasbin(intent, one.policy) !== undefined) return []
    const own = intent.casbinPolicies.filter(({ namespace }) =>
      [one.namespace, intent.mesh.rootNamespace].includes(namespace),
    )
    const meant = suggest(
      provider,
      [...known, ...own].map(({ name }) => name),
    )
    const hint = meant
      ? `did you mean ${JSON.stringify(meant)}?`
      : 'add it to extensionProviders of the Mesh, or a CasbinPolicy of this name'
    return [
      draftOf('RDB0023', one, `no provider is named ${JSON.stringify(provider)}: ${DENIED}`, hint),
    ]
  })
}

/** RDB0024 */
export function findSeveralProviders(scene: Scene): readonly Draft[] {
  if (scene.intent.mesh.severalProviders) return []
  const policies = customPolicies(scene)
  const nameOf = ({ policy }: AuthorizationIntent): string => policy.provider ?? ''
  return policies.flatMap((one, index): readonly Draft[] => {
    // The first is told of by the others.
    const others = policies.slice(0, index).filter((other) => nameOf(other) !== nameOf(one))
    const shared = scene
      .selected(one)
      .filter((workload) => others.some((other) => scene.selected(other).includes(workload)))
    if (shared.length === 0) return []
    const message = `policies of ${namesOf(shared)} ask several providers, which as in Istio denies what any of them matches`
    const hint = 'ask one, or set enableMultipleCustomAuthzProviders: true in the Mesh'
    return [draftOf('RDB0024', one, message, hint)]
  })
}

/** RDB0025 */
export function findUnaskedOnTcp(scene: Scene): readonly Draft[] {
  return customPolicies(scene).flatMap((one): readonly Draft[] => {
    const { provider = '' } = one.policy
    const concerned = scene.selected(one).filter((workload) => {
      const { providers, ports } = scene.bundleOf(workload)
      const isTcp = ports.some(({ protocol }) => protocol === 'tcp' || protocol === 'tls')
      return providers[provider]?.kind === 'http' && isTcp
    })
    if (concerned.length === 0) return []
    const message = `${provider} speaks HTTP, and ${namesOf(concerned)} has TCP ports: there nobody is asked, and the policy does not apply`
    const hint = 'guard those ports with ALLOW or DENY policies, or use a gRPC provider'
    return [draftOf('RDB0025', one, message, hint)]
  })
}

/** RDB0026 */
export function findCasbinTexts({ intent }: Scene): readonly Draft[] {
  return intent.casbinPolicies.flatMap((one): readonly Draft[] => {
    const { namespace, model, policy, request } = one
    const missing = [...missingTexts(intent, one), ...missingSecrets(intent, one)]
    if (missing.length > 0) return missing
    const text = textOf(intent, namespace, model) ?? ''
    const read = readOperatorModel(text, request)
    if (read.kind === 'faulty') return read.faults.map((fault) => faultDraft(one, 'model', fault))
    if (policy.kind === 'postgres') return []
    const lines = readPolicyLines(textOf(intent, namespace, policy) ?? '', read.model)
    return lines.kind === 'read'
      ? []
      : lines.faults.map((fault) => faultDraft(one, 'policy', fault))
  })
}

function missingTexts(intent: Intent, one: CasbinPolicy): readonly Draft[] {
  const { namespace, model, policy } = one
  const texts = [
    { source: model, path: ['spec', 'model', 'configMap'] },
    ...(policy.kind === 'postgres'
      ? policy.ca === undefined
        ? []
        : [{ source: policy.ca, path: ['spec', 'policy', 'postgres', 'tls', 'ca', 'configMap'] }]
      : [{ source: policy, path: ['spec', 'policy', 'configMap'] }]),
  ]
  return texts.flatMap(({ source, path }) => {
    if (source.kind === 'inline' || textOf(intent, namespace, source) !== undefined) return []
    const message = `there is no ConfigMap ${namespace}/${source.name} with the key ${source.key}: who asks ${casbinName(one)} is denied`
    return [casbinDraft(one, path, message, 'add it; it is of the same namespace')]
  })
}

function missingSecrets({ secrets }: Intent, one: CasbinPolicy): readonly Draft[] {
  const { namespace, policy } = one
  if (policy.kind !== 'postgres' || policy.password?.kind !== 'secret') return []
  const { name, key } = policy.password
  const found = secrets.find((secret) => secret.namespace === namespace && secret.name === name)
  if (found !== undefined && Object.hasOwn(found.data, key)) return []
  const path = ['spec', 'policy', 'postgres', 'passwordFrom', 'secret']
  const message = `there is no Secret ${namespace}/${name} with the key ${key}: its lines cannot be read`
  return [casbinDraft(one, path, message, 'add it, or name a file of the policy server')]
}

function faultDraft(
  one: CasbinPolicy,
  field: 'model' | 'policy',
  {
    line,
    message,
    hint,
  }: { readonly line: number; readonly message: string; readonly hint?: string },
): Draft {
  const what = `line ${line} of its ${field}: ${message}`
  return casbinDraft(
    one,
    ['spec', field],
    what,
    hint ?? 'a sidecar keeps what it has until it is right',
  )
}

function casbinDraft(
  one: CasbinPolicy,
  path: readonly PathKey[],
  message: string,
  hint: string,
): Draft {
  return { code: 'RDB0026', subject: subjectOf('CasbinPolicy', one), path, message, hint }
}

/** Those in force: a dry-run one asks nobody. */
function customPolicies(scene: Scene): readonly AuthorizationIntent[] {
  return sidecarPolicies(scene).filter(({ policy }) => policy.action === 'CUSTOM' && !policy.dryRun)
}

function draftOf(
  code: Draft['code'],
  one: AuthorizationIntent,
  message: string,
  hint: string,
): Draft {
  const subject = subjectOf('AuthorizationPolicy', one)
  return { code, subject, path: PROVIDER, message, hint }
}
