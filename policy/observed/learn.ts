/** From what was let through, the least that must be allowed for it. */
import { selects } from '../assemble/select.ts'
import { matchesTemplate } from '../evaluate/patterns.ts'
import {
  type AuthorizationPolicy,
  type Intent,
  normalizePath,
  type Workload,
} from '../model/index.ts'
import type { Observation } from './read-log.ts'

/** How far to go beyond what was seen. */
export interface LearnOptions {
  /** `/orders/{*}`: a path that one of them matches is written as it. */
  readonly pathTemplates: readonly string[]
  /** Methods that go together: who used one of a group may use all of it. */
  readonly methodGroups: readonly (readonly string[])[]
  /** Methods are not constrained at all. */
  readonly anyMethod: boolean
}

/** An operation of a learned rule, and the requests that ask for it. */
export interface LearnedOperation {
  readonly port: number
  /** Empty: any. */
  readonly methods: readonly string[]
  /** Empty of opaque connections, which have none. */
  readonly paths: readonly string[]
  readonly requests: number
}

export interface LearnedRule {
  /** Principals as policies write them; empty: callers without an identity. */
  readonly principals: readonly string[]
  readonly operations: readonly LearnedOperation[]
  readonly requests: number
  /** ISO 8601. */
  readonly lastSeen: string
}

/** One policy, for the workloads that have these labels. */
export interface LearnedPolicy {
  readonly namespace: string
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  /** `namespace/name` of those whose requests it was learned from. */
  readonly workloads: readonly string[]
  /** Others that its labels select too: the policy is theirs as well. */
  readonly alsoSelects: readonly string[]
  readonly rules: readonly LearnedRule[]
  readonly requests: number
}

export interface Learned {
  readonly policies: readonly LearnedPolicy[]
  /** What was seen and is not allowed by them, with why. */
  readonly leftOut: readonly { readonly observation: Observation; readonly why: string }[]
}

/** A request that was let through, in the terms of policies. */
interface Call {
  readonly observation: Observation
  readonly workload: Workload
  readonly port: number
  /** '' of an opaque connection. */
  readonly path: string
}

/** The least-privilege ALLOW policies for what was let through. Requests that were refused stay so. */
export function learn(
  intent: Intent,
  observations: readonly Observation[],
  options: LearnOptions,
): Learned {
  const read = observations.map((observation) => readCall(intent, observation))
  const calls = read.flatMap((one) => ('why' in one ? [] : [one]))
  const groups = Map.groupBy(calls, ({ workload }) => groupKey(workload))
  return {
    policies: [...groups.values()].map((group) => policyOf(intent, group, options)),
    leftOut: read.flatMap((one) => ('why' in one ? [one] : [])),
  }
}

/** The policies in the model, enforced: what replay holds the traffic against. */
export function learnedIntents(learned: readonly LearnedPolicy[]): Intent['authorizationPolicies'] {
  return learned.map(({ namespace, name, labels, rules }) => {
    const policy: AuthorizationPolicy = {
      namespace,
      name,
      action: 'ALLOW',
      dryRun: false,
      rules: rules.map(({ principals, operations }) => ({
        from: [principals.length > 0 ? { principals } : { notPrincipals: ['*'] }],
        to: operations.map(({ port, methods, paths }) => ({
          ports: [String(port)],
          ...(methods.length > 0 ? { methods } : {}),
          ...(paths.length > 0 ? { paths } : {}),
        })),
      })),
    }
    return { namespace, name, selector: labels, targeted: false, policy }
  })
}

function readCall(
  { workloads, mesh }: Intent,
  observation: Observation,
): Call | { readonly observation: Observation; readonly why: string } {
  const no = (why: string) => ({ observation, why })
  if (observation.decision !== 'allow') return no('refused')
  const workload = workloads.find(
    ({ namespace, name }) => `${namespace}/${name}` === observation.workload,
  )
  if (!workload) return no(`the manifests have no workload ${observation.workload}`)
  if (Object.keys(workload.labels).length === 0) {
    return no(`${observation.workload} has no labels to select it by`)
  }
  const [only, ...others] = workload.ports
  const port = observation.port ?? (others.length === 0 ? only?.port : undefined)
  if (port === undefined) return no('the line does not say to which port')
  if (observation.protocol === 'tcp') return { observation, workload, port, path: '' }
  const read = normalizePath(observation.target, mesh.pathNormalization)
  if (read.kind === 'refused') return no(`its path is answered 400: ${read.reason}`)
  return { observation, workload, port, path: read.path }
}

/** Workloads with the same labels cannot be told apart by a selector. */
function groupKey({ namespace, labels }: Workload): string {
  const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))
  return JSON.stringify([namespace, sorted])
}

function policyOf(intent: Intent, calls: readonly Call[], options: LearnOptions): LearnedPolicy {
  const names = [...new Set(calls.map(({ workload }) => workload.name))].sort()
  const { namespace = '', labels = {} } = calls[0]?.workload ?? {}
  const selected = intent.workloads.filter(
    (one) => one.namespace === namespace && selects(labels, one.labels),
  )
  return {
    namespace,
    name: `learned-${names[0]}`,
    labels,
    workloads: names.map((name) => `${namespace}/${name}`),
    alsoSelects: selected
      .filter(({ name }) => !names.includes(name))
      .map(({ name }) => `${namespace}/${name}`),
    rules: rulesOf(calls, options),
    requests: sum(calls),
  }
}

/** One rule for each set of operations, with all callers that use exactly it. */
function rulesOf(calls: readonly Call[], options: LearnOptions): readonly LearnedRule[] {
  // A rule that asks for anything of HTTP is held against no opaque connection (§1.8): two rules.
  const byCaller = Map.groupBy(calls, ({ observation: { caller = '', protocol } }) =>
    JSON.stringify([caller, protocol]),
  )
  const rules = [...byCaller].map(([key, own]) => {
    const [caller = ''] = JSON.parse(key) as readonly string[]
    const operations = operationsOf(own, options)
    const asked = operations.map(({ port, methods, paths }) => [port, methods, paths])
    const shape = JSON.stringify([caller === '', asked])
    return { caller, own, operations, shape }
  })
  const merged = Map.groupBy(rules, ({ shape }) => shape)
  return [...merged.values()].map((group) => {
    const own = group.flatMap((one) => one.own)
    const callers = group.map(({ caller }) => caller).filter((caller) => caller !== '')
    return {
      principals: callers.map((caller) => caller.slice('spiffe://'.length)).sort(),
      operations: group.length === 1 ? (group[0]?.operations ?? []) : operationsOf(own, options),
      requests: sum(own),
      lastSeen: own.reduce(
        (last, { observation: { lastSeen } }) => (lastSeen > last ? lastSeen : last),
        '',
      ),
    }
  })
}

/** Exactly the pairs of method and path that were seen, generalised as told. */
function operationsOf(calls: readonly Call[], options: LearnOptions): readonly LearnedOperation[] {
  const byPath = Map.groupBy(calls, ({ port, path }) =>
    JSON.stringify([port, writtenPath(path, options)]),
  )
  const entries = [...byPath].map(([key, own]) => {
    const [port, path] = JSON.parse(key) as [number, string]
    return { port, path, own, methods: methodsOf(own, options) }
  })
  const alike = Map.groupBy(entries, ({ port, methods }) => JSON.stringify([port, methods]))
  return [...alike.values()]
    .map((group) => ({
      port: group[0]?.port ?? 0,
      methods: group[0]?.methods ?? [],
      paths: group.flatMap(({ path }) => (path === '' ? [] : [path])).sort(),
      requests: sum(group.flatMap(({ own }) => own)),
    }))
    .sort((a, b) =>
      JSON.stringify([a.port, a.paths]) < JSON.stringify([b.port, b.paths]) ? -1 : 1,
    )
}

function writtenPath(path: string, { pathTemplates }: LearnOptions): string {
  return pathTemplates.find((template) => matchesTemplate(template, path)) ?? path
}

function methodsOf(
  calls: readonly Call[],
  { methodGroups, anyMethod }: LearnOptions,
): readonly string[] {
  if (anyMethod) return []
  const seen = calls.flatMap(({ observation: { method } }) => (method === '' ? [] : [method]))
  const groups = methodGroups.filter((group) => group.some((method) => seen.includes(method)))
  return [...new Set([...seen, ...groups.flat()])].sort()
}

function sum(calls: readonly Call[]): number {
  return calls.reduce((total, { observation }) => total + observation.requests, 0)
}
