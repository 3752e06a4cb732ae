/** AuthorizationPolicy (istio-semantics §1.1, §1.2, §1.14). */
import { z } from 'zod'

import type { Condition, Operation, Rule, Source } from '../../model/authorization.ts'
import { defineKind, type Kind, type Manifest, type Warning } from '../kind.ts'
import { refOf } from '../metadata.ts'
import type { PathKey } from '../pointer.ts'
import { fields, type Report } from '../schema.ts'
import { suggest } from '../suggest.ts'
import {
  CONDITION_KEY_NAMES,
  conditionKey,
  OPERATION_FIELDS,
  SOURCE_FIELDS,
  type ValueFault,
} from './authorization-values.ts'
import { matchLabelsSchema, selectorOf, warnEmptySelector } from './selector.ts'

const DRY_RUN = 'istio.io/dry-run'
/** What Go's strconv.ParseBool reads. */
const BOOLEANS: Readonly<Record<string, boolean>> = {
  ...Object.fromEntries(['1', 't', 'T', 'TRUE', 'true', 'True'].map((word) => [word, true])),
  ...Object.fromEntries(['0', 'f', 'F', 'FALSE', 'false', 'False'].map((word) => [word, false])),
}

/** What a policy may refer to with `targetRefs`, as `group/kind`. */
const TARGETS = [
  '/Service',
  'networking.istio.io/ServiceEntry',
  'gateway.networking.k8s.io/Gateway',
  'gateway.networking.k8s.io/GatewayClass',
]

const strings = z.array(z.string()).optional()

const source = fields(
  {
    principals: strings,
    notPrincipals: strings,
    requestPrincipals: strings,
    notRequestPrincipals: strings,
    namespaces: strings,
    notNamespaces: strings,
    serviceAccounts: z.array(z.string()).max(16).optional(),
    notServiceAccounts: z.array(z.string()).max(16).optional(),
    ipBlocks: strings,
    notIpBlocks: strings,
    remoteIpBlocks: strings,
    notRemoteIpBlocks: strings,
    trustDomains: strings,
    notTrustDomains: strings,
  },
  {
    check: (value, report) => {
      checkLists(value, SOURCE_FIELDS, report)
      const has = (...names: readonly (keyof Source)[]): boolean =>
        names.some((name) => (value[name]?.length ?? 0) > 0)
      if (
        has('serviceAccounts', 'notServiceAccounts') &&
        has('namespaces', 'notNamespaces', 'principals', 'notPrincipals')
      ) {
        report([], 'serviceAccounts cannot stand in one source with namespaces or principals')
      }
    },
  },
)

const operation = fields(
  {
    hosts: strings,
    notHosts: strings,
    ports: strings,
    notPorts: strings,
    methods: strings,
    notMethods: strings,
    paths: strings,
    notPaths: strings,
  },
  { check: (value, report) => checkLists(value, OPERATION_FIELDS, report) },
)

const condition = fields(
  { key: z.string(), values: strings, notValues: strings },
  {
    check: ({ key, values = [], notValues = [] }, report) => {
      const known = conditionKey(key)
      if (known.kind === 'refused') {
        const meant = suggest(key, CONDITION_KEY_NAMES)
        const hint =
          known.why === 'unknown attribute' && meant
            ? `; did you mean ${JSON.stringify(meant)}?`
            : ''
        return report(['key'], `found ${JSON.stringify(key)}: ${known.why}${hint}`)
      }
      if (values.length + notValues.length === 0) {
        report(
          [],
          `neither values nor notValues is set for ${JSON.stringify(key)}: expected at least one`,
        )
      }
      checkList(values, known.value, ['values'], report)
      checkList(notValues, known.value, ['notValues'], report)
    },
  },
)

const rule = fields({
  from: z.array(fields({ source })).max(512).optional(),
  to: z.array(fields({ operation })).optional(),
  when: z.array(condition).optional(),
})

const targetRef = fields(
  {
    group: z.string().optional(),
    kind: z.string().min(1),
    name: z.string().min(1),
    namespace: z.string().optional(),
  },
  {
    check: ({ group = '', kind, namespace = '' }, report) => {
      if (namespace !== '')
        report(['namespace'], 'a reference to another namespace is not supported: leave it out')
      if (!TARGETS.includes(`${group}/${kind}`)) {
        report(
          [],
          `found ${JSON.stringify(`${group}/${kind}`)}, expected one of ${TARGETS.join(', ')}`,
        )
      }
    },
  },
)

const spec = fields(
  {
    selector: matchLabelsSchema.optional(),
    targetRef: targetRef.optional(),
    targetRefs: z.array(targetRef).max(16).optional(),
    action: z.enum(['ALLOW', 'DENY', 'AUDIT', 'CUSTOM']).optional(),
    provider: fields({ name: z.string().optional() }).optional(),
    rules: z.array(rule).max(512).optional(),
  },
  {
    check: (value, report) => {
      const {
        selector,
        targetRef: single,
        targetRefs = [],
        action = 'ALLOW',
        provider,
        rules = [],
      } = value
      const scopes = [selector !== undefined, single !== undefined, targetRefs.length > 0]
      if (scopes.filter(Boolean).length > 1) {
        report(
          [],
          'more than one of selector, targetRef and targetRefs is set: expected one at most',
        )
      }
      if ((action === 'DENY' || action === 'CUSTOM') && rules.length === 0) {
        report(
          ['rules'],
          `${action} without rules would never act: expected rules; [{}] is for every request`,
        )
      }
      if (action === 'CUSTOM') checkCustom(value, report)
      else if (provider)
        report(['provider'], `it is for action CUSTOM only, and the action is ${action}`)
    },
  },
)

type Spec = z.output<typeof spec>

function checkLists(
  value: Readonly<Record<string, readonly string[] | undefined>>,
  rules: Readonly<Record<string, ValueFault>>,
  report: Report,
): void {
  if (Object.values(value).every((list) => !list || list.length === 0)) {
    report(
      [],
      'it has no values: expected at least one, as it would otherwise match nothing or everything',
    )
  }
  for (const [field, list = []] of Object.entries(value)) {
    checkList(list, rules[positiveOf(field)], [field], report)
  }
}

/** `principals` for `notPrincipals`. */
function positiveOf(field: string): string {
  return field.startsWith('not') ? `${field.charAt(3).toLowerCase()}${field.slice(4)}` : field
}

function checkList(
  list: readonly string[],
  fault: ValueFault | undefined,
  path: readonly PathKey[],
  report: Report,
): void {
  list.forEach((value, index) => {
    const wrong = fault?.(value)
    if (wrong !== undefined) report([...path, index], wrong)
  })
}

/** Nothing that comes from a token, and nobody's identity, is known to an external provider's rules (§1.14). */
const NOT_FOR_CUSTOM = [
  'namespaces',
  'serviceAccounts',
  'trustDomains',
  'principals',
  'requestPrincipals',
]
const KEYS_NOT_FOR_CUSTOM =
  /^(source\.(namespace|serviceAccount|trustDomain|principal)$|request\.auth\.)/

function checkCustom({ provider, rules = [] }: Spec, report: Report): void {
  if (!provider?.name) report(['provider'], 'action CUSTOM needs provider.name')
  rules.forEach(({ from = [], when = [] }, ruleIndex) => {
    from.forEach(({ source: value }, index) => {
      for (const [field, list = []] of Object.entries(value)) {
        if (list.length > 0 && NOT_FOR_CUSTOM.includes(positiveOf(field))) {
          const path = ['rules', ruleIndex, 'from', index, 'source', field]
          report(path, `${field} cannot be used with action CUSTOM`)
        }
      }
    })
    when.forEach(({ key }, index) => {
      if (!KEYS_NOT_FOR_CUSTOM.test(key)) return
      report(['rules', ruleIndex, 'when', index, 'key'], `${key} cannot be used with action CUSTOM`)
    })
  })
}

function checkDryRun(
  { metadata, spec: written = {} }: Manifest<Spec | undefined>,
  report: Report,
): void {
  const value = metadata.annotations[DRY_RUN]
  if (value === undefined) return
  const path = ['metadata', 'annotations', DRY_RUN]
  const { action = 'ALLOW' } = written
  if (action !== 'ALLOW' && action !== 'DENY')
    report(path, `it is for ALLOW and DENY, and the action is ${action}`)
  else if (!Object.hasOwn(BOOLEANS, value)) {
    report(path, `found ${JSON.stringify(value)}, expected "true" or "false"`)
  }
}

export const authorizationPolicyKind: Kind = defineKind({
  group: 'security.istio.io',
  versions: ['v1', 'v1beta1'],
  kind: 'AuthorizationPolicy',
  spec: spec.optional(),
  check: checkDryRun,
  warn: ({ spec: written = {} }) => [
    ...warnEmptySelector(written.selector),
    ...warnEmptyLists(written),
    ...warnHttpOnlyDeny(written),
    ...warnTargets(written),
  ],
  place: ({ metadata, spec: written = {} }) => {
    const selector = selectorOf(written.selector)
    return {
      into: 'authorizationPolicies',
      value: {
        ...refOf(metadata),
        ...(selector ? { selector } : {}),
        targeted: isTargeted(written),
        policy: {
          namespace: metadata.namespace,
          name: metadata.name,
          action: written.action ?? 'ALLOW',
          ...(written.provider?.name ? { provider: written.provider.name } : {}),
          dryRun: BOOLEANS[metadata.annotations[DRY_RUN] ?? 'false'] ?? false,
          rules: (written.rules ?? []).map(ruleFromSpec),
        },
      },
    }
  },
})

function isTargeted({ targetRef: single, targetRefs = [] }: Spec): boolean {
  return single !== undefined || targetRefs.length > 0
}

/** `from: []` and `to: []` mean unset (§0.8.2), as does an empty list in a source with other fields. */
function ruleFromSpec({ from = [], to = [], when = [] }: z.output<typeof rule>): Rule {
  return {
    ...(from.length > 0 ? { from: from.map((entry) => filledLists<Source>(entry.source)) } : {}),
    ...(to.length > 0 ? { to: to.map((entry) => operationFromSpec(entry.operation)) } : {}),
    ...(when.length > 0 ? { when: when.map(conditionFromSpec) } : {}),
  }
}

function filledLists<T>(value: Readonly<Record<string, readonly string[] | undefined>>): T {
  return Object.fromEntries(
    Object.entries(value).filter(([, list]) => list && list.length > 0),
  ) as T
}

function operationFromSpec(value: z.output<typeof operation>): Operation {
  const { ports, notPorts } = value
  return filledLists({ ...value, ports: ports?.map(decimal), notPorts: notPorts?.map(decimal) })
}

function conditionFromSpec({
  key,
  values = [],
  notValues = [],
}: z.output<typeof condition>): Condition {
  const read = key === 'destination.port' ? decimal : (value: string): string => value
  return {
    key,
    ...filledLists<object>({ values: values.map(read), notValues: notValues.map(read) }),
  }
}

/** `080` as `80`. */
function decimal(port: string): string {
  return String(Number(port))
}

function warnEmptyLists({ rules = [] }: Spec): readonly Warning[] {
  const emptyIn = (value: object, path: readonly PathKey[]): Warning[] =>
    Object.entries(value)
      .filter(([, list]) => Array.isArray(list) && list.length === 0)
      .map(([field]) => ({
        path: [...path, field],
        message: 'the list is empty, which means no constraint at all',
      }))
  return rules.flatMap((value, index) => {
    const path = ['spec', 'rules', index]
    return [
      ...emptyIn(value, path),
      ...(value.from ?? []).flatMap((entry, at) =>
        emptyIn(entry.source, [...path, 'from', at, 'source']),
      ),
      ...(value.to ?? []).flatMap((entry, at) =>
        emptyIn(entry.operation, [...path, 'to', at, 'operation']),
      ),
      ...(value.when ?? []).flatMap((entry, at) => emptyIn(entry, [...path, 'when', at])),
    ]
  })
}

/** On a TCP port a DENY that names only HTTP attributes denies every connection (§1.8). */
function warnHttpOnlyDeny({ action, rules = [] }: Spec): readonly Warning[] {
  if (action !== 'DENY') return []
  return rules.flatMap((value, index) =>
    isHttpOnly(value)
      ? [
          {
            path: ['spec', 'rules', index],
            message:
              'it has only HTTP attributes and no port, so it denies every connection to a TCP port',
          },
        ]
      : [],
  )
}

function isHttpOnly({ from = [], to = [], when = [] }: z.output<typeof rule>): boolean {
  const names = [
    ...from.flatMap((entry) => Object.keys(filledLists<object>(entry.source))),
    ...to.flatMap((entry) => Object.keys(filledLists<object>(entry.operation))),
    ...when.map(({ key }) => key),
  ]
  const http = /^(request\.|(not)?(requestPrincipals|hosts|methods|paths)$)/i
  return names.length > 0 && names.every((name) => http.test(name))
}

function warnTargets(written: Spec): readonly Warning[] {
  if (!isTargeted(written)) return []
  const message = 'a policy with targetRefs is for gateways and waypoints: no sidecar applies it'
  return [{ path: ['spec'], message }]
}
