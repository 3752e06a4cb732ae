/** What is legal in an AuthorizationPolicy and probably not meant. */
import type { Warning } from '../kind.ts'
import type { PathKey } from '../pointer.ts'
import { filledLists, MISREAD_KEY } from './authorization-values.ts'
import { isTargeted } from './target-ref.ts'

type Lists = Readonly<Record<string, readonly string[] | undefined>>

interface RawRule {
  readonly from?: readonly { readonly source: Lists }[] | undefined
  readonly to?: readonly { readonly operation: Lists }[] | undefined
  readonly when?: readonly ({ readonly key: string } & object)[] | undefined
}

interface RawPolicy {
  readonly action?: string | undefined
  readonly targetRef?: object | undefined
  readonly targetRefs?: readonly object[] | undefined
  readonly rules?: readonly RawRule[] | undefined
}

/** Everything doubtful in `policy`, which stands at `/spec`. */
export function warnPolicy(policy: RawPolicy): readonly Warning[] {
  return [
    ...warnEmptyLists(policy),
    ...warnHttpOnlyDeny(policy),
    ...warnMisreadKeys(policy),
    ...warnTargets(policy),
  ]
}

/** Istio takes the object and does otherwise than it says. */
function warnMisreadKeys({ rules = [] }: RawPolicy): readonly Warning[] {
  const message =
    'the key is not of the form key[name], so that nothing understands it: in ALLOW its rule matches nothing, elsewhere the condition is ignored'
  return rules.flatMap(({ when = [] }, index) =>
    when.flatMap(({ key }, at) =>
      MISREAD_KEY.test(key) ? [{ path: ['spec', 'rules', index, 'when', at, 'key'], message }] : [],
    ),
  )
}

function warnEmptyLists({ rules = [] }: RawPolicy): readonly Warning[] {
  const warnings: Warning[] = []
  const lookInto = (value: object, ...path: readonly PathKey[]): void => {
    for (const [field, list] of Object.entries(value)) {
      if (!Array.isArray(list) || list.length > 0) continue
      const message = 'the list is empty, which means no constraint at all'
      warnings.push({ path: ['spec', 'rules', ...path, field], message })
    }
  }
  for (const [index, rule] of rules.entries()) {
    const { from = [], to = [], when = [] } = rule
    lookInto(rule, index)
    for (const [at, { source }] of from.entries()) lookInto(source, index, 'from', at, 'source')
    for (const [at, { operation }] of to.entries())
      lookInto(operation, index, 'to', at, 'operation')
    for (const [at, condition] of when.entries()) lookInto(condition, index, 'when', at)
  }
  return warnings
}

/** On a TCP port HTTP attributes do not exist, and a DENY goes by what is left of its rule (§1.8). */
function warnHttpOnlyDeny({ action, rules = [] }: RawPolicy): readonly Warning[] {
  if (action !== 'DENY') return []
  const message =
    'it names HTTP attributes and no port, so on TCP ports it denies every connection that its other attributes match'
  return rules.flatMap((value, index) => {
    const path = ['spec', 'rules', index]
    if (deniesTcp(value)) return [{ path, message }]
    return isWarnedOf(value) ? [{ path, message: WARNED_BY_ISTIO }] : []
  })
}

const WARNED_BY_ISTIO =
  'Istio warns that it denies all on TCP ports, as it looks for ports in `to` and counts no trustDomains; it does not'

/** Istio's own test, which knows nothing of `when` and of trust domains (§1.8). */
function isWarnedOf({ from = [], to = [] }: RawRule): boolean {
  const fields = [
    ...from.map(({ source }) => source),
    ...to.map(({ operation }) => operation),
  ].flatMap((lists) => Object.keys(filledLists<object>(lists)))
  if (to.length > 0) return !fields.some((field) => /^(notP|p)orts$/.test(field))
  return from.length > 0 && !fields.some((field) => TCP_FIELD.test(field))
}

const TCP_FIELD = /^(not)?(principals|namespaces|serviceAccounts|(remote)?ipBlocks)$/i

const HTTP_FIELD = /^(request\.|(not)?(requestPrincipals|hosts|methods|paths)$)/i

function deniesTcp({ from = [], to = [], when = [] }: RawRule): boolean {
  if (to.length > 0) {
    return to.some(({ operation }) => {
      const fields = Object.keys(filledLists<object>(operation))
      return (
        fields.some((field) => HTTP_FIELD.test(field)) &&
        !fields.some((field) => /ports$/i.test(field))
      )
    })
  }
  const fields = from.flatMap(({ source }) => Object.keys(filledLists<object>(source)))
  const names = [...fields, ...when.map(({ key }) => key)]
  return names.some((name) => HTTP_FIELD.test(name)) && !names.includes('destination.port')
}

function warnTargets(written: RawPolicy): readonly Warning[] {
  if (!isTargeted(written)) return []
  const message = 'a policy with targetRefs is for gateways and waypoints: no sidecar applies it'
  return [{ path: ['spec'], message }]
}
