/** Rules, and what they missed, in words. */
import type { Miss, PolicyExplanation } from '../evaluate/index.ts'
import type { Condition, Operation, Rule, Source } from '../model/index.ts'

/** `rule 0 of ns/name matches when the caller is …, and the method is …`. */
export function ruleSentence(policy: string, at: number, rule: Rule): string {
  const parts = [
    alternatives(rule.from?.map(fieldClauses)),
    alternatives(rule.to?.map(fieldClauses)),
    ...(rule.when ?? []).flatMap(conditionClauses),
  ].filter((part) => part !== '')
  const when = parts.length === 0 ? 'whatever is asked' : `when ${parts.join(', and ')}`
  return `rule ${at} of ${policy} matches ${when}`
}

/**
 * The rule that came nearest to letting the request through: the ALLOW rule in force with the fewest
 * misses, among those one that was written for the caller; `undefined` when no ALLOW policy has a rule.
 */
export function nearestMiss(policies: readonly PolicyExplanation[]): string | undefined {
  const candidates = policies.flatMap(({ policy, action, dryRun, rules }) =>
    action === 'ALLOW' && !dryRun ? rules.map((rule) => ({ policy, ...rule })) : [],
  )
  const [nearest] = candidates
    .filter(({ misses }) => misses.length > 0)
    .sort((a, b) => a.misses.length - b.misses.length || aboutCaller(a) - aboutCaller(b))
  if (nearest === undefined) return undefined
  const { policy, rule, misses } = nearest
  return `rule ${rule} of ${policy} would have matched but for ${misses.map(missText).join('; and ')}`
}

/** Who a caller is changes less easily than what it asks. */
function aboutCaller({ misses }: { readonly misses: readonly Miss[] }): number {
  return misses.filter(({ field }) => field.startsWith('from')).length
}

function missText({ attribute, negated, wanted, actual, reason }: Miss): string {
  const name = nameOf(attribute)
  if (reason === 'http-only') return `${name}: an opaque connection has none`
  if (reason === 'unreadable') return `${name}: ${quoted(wanted)} means nothing there`
  const is = actual.length === 0 ? 'is not given' : `is ${quoted(actual)}`
  return `${name}: ${is}, must ${negated ? 'not ' : ''}be ${either(wanted)}`
}

const NAMES: Readonly<Record<string, string>> = {
  principals: 'caller',
  'source.principal': 'caller',
  namespaces: "caller's namespace",
  'source.namespace': "caller's namespace",
  serviceAccounts: "caller's service account",
  'source.serviceAccount': "caller's service account",
  trustDomains: "caller's trust domain",
  'source.trustDomain': "caller's trust domain",
  requestPrincipals: "token's principal",
  'request.auth.principal': "token's principal",
  'request.auth.audiences': "token's audience",
  'request.auth.presenter': "token's presenter",
  ipBlocks: 'source address',
  'source.ip': 'source address',
  remoteIpBlocks: 'client address',
  'remote.ip': 'client address',
  'destination.ip': 'destination address',
  'destination.port': 'port',
  'connection.sni': 'SNI',
  hosts: 'host',
  ports: 'port',
  methods: 'method',
  paths: 'path',
}

function nameOf(attribute: string): string {
  const known = Object.hasOwn(NAMES, attribute) ? NAMES[attribute] : undefined
  if (known !== undefined) return known
  const [, header] = /^request\.headers\[(.+)\]$/.exec(attribute) ?? []
  if (header !== undefined) return `header ${header}`
  const [, claim] = /^request\.auth\.claims\[(.+)\]$/.exec(attribute) ?? []
  return claim === undefined ? attribute : `claim ${claim.replaceAll('][', '.')}`
}

/** What a source or an operation asks for. */
function fieldClauses(fields: Source | Operation): string {
  const lists = fields as Readonly<Record<string, readonly string[] | undefined>>
  return Object.entries(lists)
    .flatMap(([name, values]) => {
      if (values === undefined) return []
      const negated = !Object.hasOwn(NAMES, name)
      const attribute = negated ? `${name.charAt(3).toLowerCase()}${name.slice(4)}` : name
      return [clause(attribute, values, negated)]
    })
    .join(' and ')
}

function conditionClauses({ key, values, notValues }: Condition): readonly string[] {
  return [
    ...(values === undefined ? [] : [clause(key, values, false)]),
    ...(notValues === undefined ? [] : [clause(key, notValues, true)]),
  ]
}

function clause(attribute: string, values: readonly string[], negated: boolean): string {
  return `the ${nameOf(attribute)} is ${negated ? 'not ' : ''}${either(values)}`
}

function alternatives(list: readonly string[] | undefined): string {
  if (list === undefined || list.includes('')) return ''
  if (list.length === 0) return 'nothing'
  return list.length === 1 ? (list[0] ?? '') : `either ${list.join(', or ')}`
}

function either(values: readonly string[]): string {
  return values.length === 0 ? 'one of none' : values.map(plainly).join(' or ')
}

function quoted(values: readonly string[]): string {
  return values.map(plainly).join(', ')
}

function plainly(value: string): string {
  return /^[\w./:@*{}+-]+$/.test(value) ? value : JSON.stringify(value)
}
