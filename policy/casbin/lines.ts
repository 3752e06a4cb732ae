/**
 * Manifest rules become Casbin policy lines here, and nowhere else.
 *
 * A line is one `from` of one rule: `policy, rule, from, to, when`. The last three are JSON of the
 * model, one source, a list of operations, a list of conditions; `*` stands for a part that is left
 * out and constrains nothing. What depends on the mesh and not on the request is settled here: trust
 * domain aliases (§1.9), a service account's namespace, and what becomes of HTTP attributes on TCP
 * and of values that cannot be read (§1.8).
 */
import type { TrustDomain } from '#ca/spiffe/index.ts'
import {
  type AuthorizationPolicy,
  type Condition,
  type Operation,
  readBlock,
  type Rule,
  type Source,
} from '../model/index.ts'
import { isHttpKey, isMisreadKey } from './condition-key.ts'
import { expandPrincipal, expandTrustDomain } from './trust.ts'

/** Which of a port's two chains the lines are for (§1.8). */
export type Chain = 'http' | 'tcp'

/** A row of Casbin's `p`, in the order of `*.conf`. */
export interface PolicyLine {
  /** `namespace/name` */
  readonly policy: string
  /** Index from 0. */
  readonly rule: number
  readonly from: string
  readonly to: string
  readonly when: string
}

/** What lines need to know beside the policy. */
export interface LineContext {
  readonly chain: Chain
  /** The trust domain, then its aliases. */
  readonly trustDomains: readonly TrustDomain[]
}

/** Stands for a part of a rule that is left out. */
export const ANY = '*'

/** The line that lets everything pass where no ALLOW policy applies (§1.3, step 3). */
export const NOTHING_APPLIES: PolicyLine = { policy: '-', rule: 0, from: ANY, to: ANY, when: ANY }

/** The lines of one policy, rules in order of their ids (see {@link compareIds}). */
export function linesOf(policy: AuthorizationPolicy, context: LineContext): readonly PolicyLine[] {
  return policy.rules
    .map((rule, index) => ({ rule, index }))
    .sort((a, b) => compareIds(`${a.index}]`, `${b.index}]`))
    .flatMap(({ rule, index }) => linesOfRule(policy, rule, index, context))
}

/**
 * Orders policies as Envoy's table of them does, by the id `ns[<namespace>]-policy[<name>]-rule[<n>]`
 * byte for byte: when several match, the first of that order is the one that its logs name.
 */
export function comparePolicies(a: AuthorizationPolicy, b: AuthorizationPolicy): number {
  return compareIds(`${a.namespace}]-policy[${a.name}]`, `${b.namespace}]-policy[${b.name}]`)
}

/** The columns as Casbin takes them. */
export function lineToColumns(line: PolicyLine): string[] {
  return [line.policy, String(line.rule), line.from, line.to, line.when]
}

function compareIds(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function linesOfRule(
  policy: AuthorizationPolicy,
  rule: Rule,
  index: number,
  context: LineContext,
): readonly PolicyLine[] {
  const shape = createShaper(policy, context)
  const sources = rule.from?.map((source) => shape(source, SOURCE_FIELDS))
  const operations = rule.to?.map((operation) => shape(operation, OPERATION_FIELDS))
  const conditions = rule.when?.map((condition) => shapeCondition(condition, shape))
  const all = [...(sources ?? []), ...(operations ?? []), ...(conditions ?? [])]
  // ALLOW shrinks: a rule of which any part cannot be held is gone whole.
  if (policy.action === 'ALLOW' && all.some(({ dropped }) => dropped)) return []

  const to = operations === undefined ? ANY : JSON.stringify(operations.map(({ kept }) => kept))
  const when = conditions === undefined ? ANY : JSON.stringify(conditions.map(({ kept }) => kept))
  const froms = sources === undefined ? [ANY] : sources.map(({ kept }) => JSON.stringify(kept))
  const label = `${policy.namespace}/${policy.name}`
  return froms.map((from) => ({ policy: label, rule: index, from, to, when }))
}

/** How the values of one field are treated. */
export interface FieldRule {
  readonly httpOnly?: true
  readonly readable?: (written: string) => boolean
  readonly expand?: (
    written: string,
    policy: AuthorizationPolicy,
    context: LineContext,
  ) => readonly string[]
}

const BLOCK: FieldRule = { readable: (written) => readBlock(written) !== undefined }
const HTTP_ONLY: FieldRule = { httpOnly: true }
const MISREAD: FieldRule = { httpOnly: true, readable: () => false }
const PRINCIPAL: FieldRule = {
  expand: (written, _policy, { trustDomains }) => expandPrincipal(written, trustDomains),
}
const TRUST_DOMAIN: FieldRule = {
  expand: (written, _policy, { trustDomains }) => expandTrustDomain(written, trustDomains),
}
const SERVICE_ACCOUNT: FieldRule = {
  expand: (written, { namespace }) => [written.includes('/') ? written : `${namespace}/${written}`],
}
const PORT: FieldRule = { readable: isPort }

/** Integers 0 to 65535 in decimal. */
function isPort(written: string): boolean {
  return /^[0-9]{1,9}$/.test(written) && Number(written) <= 65_535
}

/** Every field of a source. */
export const SOURCE_FIELDS: Readonly<Record<keyof Source, FieldRule>> = {
  principals: PRINCIPAL,
  notPrincipals: PRINCIPAL,
  requestPrincipals: HTTP_ONLY,
  notRequestPrincipals: HTTP_ONLY,
  namespaces: {},
  notNamespaces: {},
  serviceAccounts: SERVICE_ACCOUNT,
  notServiceAccounts: SERVICE_ACCOUNT,
  ipBlocks: BLOCK,
  notIpBlocks: BLOCK,
  remoteIpBlocks: BLOCK,
  notRemoteIpBlocks: BLOCK,
  trustDomains: TRUST_DOMAIN,
  notTrustDomains: TRUST_DOMAIN,
}

/** Every field of an operation. */
export const OPERATION_FIELDS: Readonly<Record<keyof Operation, FieldRule>> = {
  hosts: HTTP_ONLY,
  notHosts: HTTP_ONLY,
  ports: PORT,
  notPorts: PORT,
  methods: HTTP_ONLY,
  notMethods: HTTP_ONLY,
  paths: HTTP_ONLY,
  notPaths: HTTP_ONLY,
}

const CONDITION_RULES: Readonly<Record<string, FieldRule>> = {
  'source.ip': BLOCK,
  'remote.ip': BLOCK,
  'destination.ip': BLOCK,
  'destination.port': PORT,
  'source.principal': PRINCIPAL,
  'source.trustDomain': TRUST_DOMAIN,
  'source.serviceAccount': SERVICE_ACCOUNT,
}

/** What remains of a part of a rule, and whether anything had to go. */
interface Shaped {
  readonly kept: Readonly<Record<string, unknown>>
  readonly dropped: boolean
}

type Fields = Readonly<Record<string, readonly string[] | undefined>>
type Shape = (
  fields: Source | Operation | Fields,
  rules: Readonly<Record<string, FieldRule>>,
) => Shaped

function createShaper(policy: AuthorizationPolicy, context: LineContext): Shape {
  return (fields, rules) => {
    const kept: Record<string, readonly string[]> = {}
    let dropped = false
    for (const [name, values] of Object.entries(fields as Fields)) {
      if (values === undefined) continue
      const { httpOnly, readable, expand } = rules[name] ?? {}
      const isUnknown = httpOnly && context.chain === 'tcp'
      const readableValues = isUnknown ? undefined : readable ? values.filter(readable) : values
      dropped ||= readableValues?.length !== values.length
      // A field that lost all its values constrains no more; one that never had any matches nothing.
      if (readableValues === undefined || (readableValues.length === 0 && values.length > 0))
        continue
      kept[name] = expand
        ? readableValues.flatMap((written) => expand(written, policy, context))
        : readableValues
    }
    return { kept, dropped }
  }
}

function shapeCondition({ key, values, notValues }: Condition, shape: Shape): Shaped {
  const own = Object.hasOwn(CONDITION_RULES, key) ? CONDITION_RULES[key] : undefined
  const http = isMisreadKey(key) ? MISREAD : HTTP_ONLY
  const rule: FieldRule = isHttpKey(key) ? http : (own ?? {})
  const { kept, dropped } = shape({ values, notValues }, { values: rule, notValues: rule })
  return { kept: { key, ...kept }, dropped }
}
