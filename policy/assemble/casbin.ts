/** CasbinPolicies as sidecars get them: texts found, rows read. */
import { readOperatorModel, readPolicyLines } from '../casbin/operator/index.ts'
import type { AuthorizationPolicy } from '../model/authorization.ts'
import type { CasbinDecider } from '../model/extension-provider.ts'
import type { CasbinPolicy, Intent, TextSource } from '../model/intent.ts'

/** Rows that were read from databases, by `namespace/name` of the CasbinPolicy. */
export type CasbinRows = ReadonlyMap<string, readonly (readonly string[])[]>

/** `namespace/name`, by which policies of a bundle ask it: no extension provider has a slash in its name. */
export function casbinName({ namespace, name }: Pick<CasbinPolicy, 'namespace' | 'name'>): string {
  return `${namespace}/${name}`
}

/**
 * The CasbinPolicy that a CUSTOM policy means: of its own namespace, else of the root namespace. An
 * extension provider of that name goes before both.
 */
export function meantCasbin(
  { casbinPolicies, mesh }: Intent,
  { namespace, provider }: AuthorizationPolicy,
): CasbinPolicy | undefined {
  if (provider === undefined || mesh.extensionProviders?.some(({ name }) => name === provider)) {
    return undefined
  }
  const named = casbinPolicies.filter(({ name }) => name === provider)
  return (
    named.find((one) => one.namespace === namespace) ??
    named.find((one) => one.namespace === mesh.rootNamespace)
  )
}

/** The text, or `undefined` when its ConfigMap or key is not there. */
export function textOf(
  { configMaps }: Intent,
  namespace: string,
  source: TextSource,
): string | undefined {
  if (source.kind === 'inline') return source.text
  const found = configMaps.find((one) => one.namespace === namespace && one.name === source.name)
  return found && Object.hasOwn(found.data, source.key) ? found.data[source.key] : undefined
}

/** What decides for `policy`; `undefined` when a text or its rows are not there: then what asks it is denied. */
export function assembleCasbin(
  intent: Intent,
  policy: CasbinPolicy,
  rowsOf: CasbinRows,
): CasbinDecider | undefined {
  const { namespace, request, timeMs } = policy
  const model = textOf(intent, namespace, policy.model)
  if (model === undefined) return undefined
  const decider = { kind: 'casbin', model, request, timeMs } as const
  if (policy.policy.kind === 'postgres') {
    const lines = rowsOf.get(casbinName(policy))
    return lines && { ...decider, lines }
  }
  const text = textOf(intent, namespace, policy.policy)
  if (text === undefined) return undefined
  const read = readOperatorModel(model, request)
  const rows = read.kind === 'read' ? readPolicyLines(text, read.model) : read
  if (rows.kind === 'read') return { ...decider, lines: rows.rows }
  const [fault] = rows.faults
  const what = read.kind === 'read' ? 'policy' : 'model'
  const message = `the ${what} of CasbinPolicy ${casbinName(policy)}, line ${fault?.line}: ${fault?.message}`
  return { ...decider, lines: [], fault: message }
}
