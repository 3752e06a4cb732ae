/**
 * Whether one rule matches all that another does. What is said here is certain; what is not said may
 * still be so: `*` in the middle of things is not reasoned about, and `redoubt authz prove` is exact.
 */
import { fieldOfKey, FIELDS } from '../evaluate/fields.ts'
import { matchesTemplate } from '../evaluate/patterns.ts'
import {
  type AuthorizationPolicy,
  blockHas,
  type Condition,
  type Operation,
  readBlock,
  type Rule,
  type Source,
} from '../model/index.ts'

/** A rule and the policy it stands in. */
export interface Placed {
  readonly policy: AuthorizationPolicy
  readonly rule: Rule
  /** The mesh has one trust domain, `cluster.local`: no principal stands for several. */
  readonly plainTrust: boolean
}

type Lists = Readonly<Record<string, readonly string[] | undefined>>

/** Whether every request that `narrow` matches is one that `wide` matches, on HTTP and on TCP. */
export function coversRule(wide: Placed, narrow: Placed): boolean {
  const values = valuesCover(wide, narrow)
  // What is excluded is compared the other way round, and each name is read where it stands.
  const excluded = valuesCover(narrow, wide)
  const objects = (a: readonly Lists[] | undefined, b: readonly Lists[] | undefined): boolean =>
    a === undefined ||
    b?.every((inner) => a.some((outer) => coversLists(outer, inner, values, excluded))) === true
  return (
    objects(wide.rule.from as readonly Lists[], narrow.rule.from as readonly Lists[]) &&
    objects(wide.rule.to as readonly Lists[], narrow.rule.to as readonly Lists[]) &&
    (wide.rule.when ?? []).every((outer) =>
      (narrow.rule.when ?? []).some(
        (inner) =>
          outer.key === inner.key &&
          coversLists(
            listsOf(outer),
            listsOf(inner),
            (_, a, b) => values(outer.key, a, b),
            (_, a, b) => excluded(outer.key, a, b),
          ),
      ),
    ) &&
    // On TCP an ALLOW rule with an HTTP attribute is left out whole (§1.8).
    (!asksHttp(wide.rule) || asksHttp(narrow.rule))
  )
}

/** Whether a rule names anything that TCP has not. */
export function asksHttp({ from = [], to = [], when = [] }: Rule): boolean {
  const names = [...from, ...to].flatMap((object: Source | Operation) => Object.keys(object))
  return (
    names.some((name) => FIELDS[positive(name)]?.httpOnly === true) ||
    when.some(({ key, values, notValues }) => (values ?? notValues) && fieldOfKey(key).httpOnly)
  )
}

/**
 * Why no request can match a rule: the alternatives of one part each exclude what they ask for.
 * `undefined` when one can.
 */
export function impossiblePart(placed: Placed): readonly (string | number)[] | undefined {
  const { rule } = placed
  const values = valuesCover(placed, placed)
  const dead = (lists: Lists): boolean =>
    Object.entries(lists).some(([name, wanted = []]) => {
      const unwanted = lists[negative(name)] ?? []
      return (
        unwanted.length > 0 &&
        wanted.every((value) => unwanted.some((other) => values(name, other, value)))
      )
    })
  for (const part of ['from', 'to'] as const) {
    const objects = (rule[part] ?? []) as readonly Lists[]
    if (objects.length > 0 && objects.every(dead)) return [part]
  }
  const at = (rule.when ?? []).findIndex((one) => deadCondition(one, values))
  return at === -1 ? undefined : ['when', at]
}

type ValuesCover = (field: string, wide: string, narrow: string) => boolean

function deadCondition(
  { key, values = [], notValues = [] }: Condition,
  cover: ValuesCover,
): boolean {
  return (
    values.length > 0 &&
    notValues.length > 0 &&
    values.every((value) => notValues.some((other) => cover(key, other, value)))
  )
}

function listsOf({ values, notValues }: Condition): Lists {
  return { value: values, notValue: notValues }
}

/** What `outer` asks for, `inner` asks for too or excludes the contrary of. */
function coversLists(
  outer: Lists,
  inner: Lists,
  values: ValuesCover,
  excluded: ValuesCover,
): boolean {
  return Object.entries(outer).every(([name, wanted]) => {
    if (wanted === undefined) return true
    const field = positive(name)
    const own = inner[name]
    if (name === field) {
      return own?.every((value) => wanted.some((other) => values(field, other, value))) === true
    }
    // What is excluded outside must be excluded inside.
    return wanted.every((value) => own?.some((other) => excluded(field, other, value)) === true)
  })
}

/** `principals` of `notPrincipals`. */
function positive(name: string): string {
  return Object.hasOwn(FIELDS, name) || !/^not[A-Z]/.test(name)
    ? name
    : `${name.charAt(3).toLowerCase()}${name.slice(4)}`
}

function negative(name: string): string {
  return `not${name.charAt(0).toUpperCase()}${name.slice(1)}`
}

/** Fields and keys whose values are compared as §1.4's general rule does. */
const GENERAL = /^(methods|paths|hosts|connection\.sni|request\.headers\[.*\])$/
const PRINCIPALS = /^(principals|source\.principal)$/
const BLOCKS = /^(ipBlocks|remoteIpBlocks|source\.ip|remote\.ip|destination\.ip)$/
const ACCOUNTS = /^(serviceAccounts|source\.serviceAccount)$/

function valuesCover(wide: Placed, narrow: Placed): ValuesCover {
  return (field, a, b) => {
    if (ACCOUNTS.test(field)) return account(a, wide) === account(b, narrow)
    if (a === b) return true
    if (BLOCKS.test(field)) return blockCovers(a, b)
    if (PRINCIPALS.test(field)) {
      return a === '*' || (wide.plainTrust && generalCovers(a, b))
    }
    if (/^(namespaces|trustDomains|source\.namespace|source\.trustDomain)$/.test(field)) {
      return a === '*'
    }
    if (field === 'hosts') return generalCovers(a.toLowerCase(), b.toLowerCase())
    return GENERAL.test(field) && generalCovers(a, b, field === 'paths')
  }
}

function account(written: string, { policy }: Placed): string {
  return written.includes('/') ? written : `${policy.namespace}/${written}`
}

function generalCovers(a: string, b: string, paths = false): boolean {
  if (a === '*') return true
  const isTemplate = (written: string): boolean => paths && /\{\*\*?\}/.test(written)
  const isExact = !b.startsWith('*') && !b.endsWith('*')
  if (isTemplate(a)) return isExact && !isTemplate(b) && matchesTemplate(a, b)
  if (a.startsWith('*')) return !b.endsWith('*') && !isTemplate(b) && b.endsWith(a.slice(1))
  if (!a.endsWith('*')) return a === b
  const start = a.slice(0, -1)
  if (isTemplate(b)) return b.slice(0, b.indexOf('{')).startsWith(start)
  return !b.startsWith('*') && b.replace(/\*$/, '').startsWith(start)
}

function blockCovers(a: string, b: string): boolean {
  const outer = readBlock(a)
  const inner = readBlock(b)
  return (
    outer !== undefined &&
    inner !== undefined &&
    outer.bits <= inner.bits &&
    blockHas(outer, inner.bytes)
  )
}
