/** AuthorizationPolicy (istio-semantics §1.1, §1.2, §1.14). */
import { z } from 'zod'

import type { Condition, Operation, Rule, Source } from '../../model/authorization.ts'
import { checkDryRunValue, ISTIO_DRY_RUN, isDryRun } from '../dry-run.ts'
import { defineKind, type Kind, type Manifest } from '../kind.ts'
import { refOf } from '../metadata.ts'
import { fields, type Report, text } from '../schema.ts'
import { suggest } from '../suggest.ts'
import {
  CONDITION_KEY_NAMES,
  checkFilled,
  checkList,
  conditionKey,
  filledLists,
  MAX_SERVICE_ACCOUNTS,
  positiveOf,
  type ValueFault,
  VALUES,
} from './authorization-values.ts'
import { warnPolicy } from './authorization-warnings.ts'
import { matchLabelsSchema, selectorOf, warnEmptySelector } from './selector.ts'
import { checkAttachment, isTargeted, targetFields } from './target-ref.ts'

const strings = z.array(z.string()).optional()

/** A list whose every value `fault` has nothing against. */
const values = (fault: ValueFault, max = Number.MAX_SAFE_INTEGER) =>
  z.array(text(fault)).max(max).optional()

const source = fields(
  {
    principals: values(VALUES.anything),
    notPrincipals: values(VALUES.anything),
    requestPrincipals: values(VALUES.anything),
    notRequestPrincipals: values(VALUES.anything),
    namespaces: values(VALUES.anything),
    notNamespaces: values(VALUES.anything),
    serviceAccounts: values(VALUES.serviceAccount, MAX_SERVICE_ACCOUNTS),
    notServiceAccounts: values(VALUES.serviceAccount, MAX_SERVICE_ACCOUNTS),
    ipBlocks: values(VALUES.subnet),
    notIpBlocks: values(VALUES.subnet),
    remoteIpBlocks: values(VALUES.subnet),
    notRemoteIpBlocks: values(VALUES.subnet),
    trustDomains: values(VALUES.trustDomain),
    notTrustDomains: values(VALUES.trustDomain),
  },
  {
    check: (value, report) => {
      checkFilled(value, report)
      // The API server counts fields, empty ones too.
      const has = (...names: readonly (keyof Source)[]): boolean =>
        names.some((name) => value[name] !== undefined)
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
    hosts: values(VALUES.anything),
    notHosts: values(VALUES.anything),
    ports: values(VALUES.port),
    notPorts: values(VALUES.port),
    methods: values(VALUES.anything),
    notMethods: values(VALUES.anything),
    paths: values(VALUES.path),
    notPaths: values(VALUES.path),
  },
  { check: checkFilled },
)

const condition = fields(
  { key: z.string(), values: strings, notValues: strings },
  {
    check: ({ key, values: wanted = [], notValues: unwanted = [] }, report) => {
      const known = conditionKey(key)
      if (known.kind === 'refused') {
        const meant = suggest(key, CONDITION_KEY_NAMES)
        const hint = meant && `did you mean ${JSON.stringify(meant)}?`
        return report(['key'], `found ${JSON.stringify(key)}: ${known.why}`, hint)
      }
      if (wanted.length + unwanted.length === 0) {
        report(
          [],
          `neither values nor notValues is set for ${JSON.stringify(key)}: expected at least one`,
        )
      }
      for (const [field, list] of Object.entries({ values: wanted, notValues: unwanted })) {
        if (key === 'source.serviceAccount' && list.length > MAX_SERVICE_ACCOUNTS)
          report([field], `it has ${list.length} values, expected at most ${MAX_SERVICE_ACCOUNTS}`)
      }
      checkList(wanted, known.value, ['values'], report)
      checkList(unwanted, known.value, ['notValues'], report)
    },
  },
)

type Lists<T> = { readonly [K in keyof T]?: readonly string[] | undefined }

/** A rule after its schema, before empty lists are left out. */
export interface WrittenRule {
  readonly from?: readonly { readonly source: Lists<Source> }[] | undefined
  readonly to?: readonly { readonly operation: Lists<Operation> }[] | undefined
  readonly when?: readonly (Lists<Omit<Condition, 'key'>> & Pick<Condition, 'key'>)[] | undefined
}

/** A rule as a manifest has it. */
export const rule: z.ZodType<WrittenRule> = fields({
  from: z.array(fields({ source })).max(512).optional(),
  to: z.array(fields({ operation })).optional(),
  when: z.array(condition).optional(),
})

const spec = fields(
  {
    selector: matchLabelsSchema.optional(),
    ...targetFields,
    action: z.enum(['ALLOW', 'DENY', 'AUDIT', 'CUSTOM']).optional(),
    provider: fields({ name: z.string().optional() }).optional(),
    rules: z.array(rule).max(512).optional(),
  },
  {
    check: (value, report) => {
      const { action = 'ALLOW', provider, rules = [] } = value
      checkAttachment(value, report)
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
  if (metadata.annotations[ISTIO_DRY_RUN] === undefined) return
  const { action = 'ALLOW' } = written
  if (action === 'ALLOW' || action === 'DENY') {
    return checkDryRunValue(metadata.annotations, ISTIO_DRY_RUN, report)
  }
  const path = ['metadata', 'annotations', ISTIO_DRY_RUN]
  report(path, `it is for ALLOW and DENY, and the action is ${action}`)
}

export const authorizationPolicyKind: Kind = defineKind({
  group: 'security.istio.io',
  versions: ['v1', 'v1beta1'],
  kind: 'AuthorizationPolicy',
  spec: spec.optional(),
  check: checkDryRun,
  warn: ({ spec: written = {} }) => [
    ...warnEmptySelector(written.selector),
    ...warnPolicy(written),
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
          dryRun: isDryRun(metadata.annotations, ISTIO_DRY_RUN),
          rules: (written.rules ?? []).map(ruleFromSpec),
        },
      },
    }
  },
})

/** `from: []` and `to: []` mean unset (§0.8.2), as does an empty list in a source with other fields. */
export function ruleFromSpec({ from = [], to = [], when = [] }: WrittenRule): Rule {
  return {
    ...(from.length > 0 ? { from: from.map((entry) => filledLists<Source>(entry.source)) } : {}),
    ...(to.length > 0 ? { to: to.map((entry) => operationFromSpec(entry.operation)) } : {}),
    ...(when.length > 0 ? { when: when.map(conditionFromSpec) } : {}),
  }
}

function operationFromSpec(value: Lists<Operation>): Operation {
  const { ports, notPorts } = value
  return filledLists({ ...value, ports: ports?.map(decimal), notPorts: notPorts?.map(decimal) })
}

function conditionFromSpec({
  key,
  values = [],
  notValues = [],
}: NonNullable<WrittenRule['when']>[number]): Condition {
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
