/** What a Casbin line asks of one attribute of a request: its columns, field by field. */
import type { Condition, Operation, Source } from '../model/index.ts'
import { blockHas, readAddress, readBlock, readSocketAddress } from '../model/index.ts'
import { readClaimPath, readHeaderName } from '../casbin/condition-key.ts'
import type { Chain } from '../casbin/lines.ts'
import { isTemplate } from '../casbin/template.ts'
import {
  exactPattern,
  generalPattern,
  globPattern,
  matchesPattern,
  type Pattern,
  prefixPattern,
  templatePattern,
  trustDomainPattern,
} from './pattern.ts'

/** Which attribute: one word, as `path`, `header:<name>`, or `claim:<JSON list of names>`. */
export type AttributeId = string

/** One written value. */
export interface Atom {
  /** Completes "the path …". */
  readonly phrase: string
  readonly exact?: string
  /** Of texts. */
  readonly pattern?: Pattern
  /** Of addresses and ports: two with one name are one. */
  readonly name?: string
  /** Of a path without its parameters: what is asked of it. */
  readonly strippedOf?: Atom
  /** `undefined`: the attribute is absent. */
  readonly meets: (value: string | undefined) => boolean
}

/** Some value of the attribute meets one of `atoms`; or, negated, none does. */
export interface Literal {
  readonly attribute: AttributeId
  readonly atoms: readonly Atom[]
  readonly negated: boolean
}

/** Alternatives, each of which asks for all of its literals. */
export type Alternatives = readonly (readonly Literal[])[]

/** Alternatives beyond which a rule is not compared. */
export const MAX_ALTERNATIVES = 4096

type ReadValue = (written: string, chain: Chain) => readonly Atom[]

interface FieldReader {
  readonly attribute: (chain: Chain) => AttributeId
  readonly read: ReadValue
}

const of = (
  attribute: AttributeId,
  read: (written: string) => readonly Pattern[],
): FieldReader => ({
  attribute: () => attribute,
  read: (written) => read(written).map(textAtom),
})

const PRINCIPAL = of('peer', (written) => [generalPattern(written, { before: 'spiffe://' })])
const NAMESPACE = of('peer', (written) => [
  globPattern(`*/ns/${written}/*`, `is in namespace ${written}`),
])
const SERVICE_ACCOUNT = of('peer', (written) => {
  const [namespace = '', account = ''] = written.split('/')
  return ['/', '/*/'].flatMap((gap) =>
    ['', '/*'].map((end) =>
      globPattern(`*/ns/${namespace}${gap}sa/${account}${end}`, `is service account ${written}`),
    ),
  )
})
const TRUST_DOMAIN = of('peer', (written) => [trustDomainPattern(written)])
const HOST = of('host', (written) => [generalPattern(written, { present: 'any', folds: true })])
const PORT: FieldReader = {
  attribute: () => 'entry',
  read: (written) => [
    {
      name: `port ${Number(written)}`,
      phrase: `is to port ${Number(written)}`,
      meets: (entry) => entry?.split('/')[0] === String(Number(written)),
    },
  ],
}
const block = (attribute: (chain: Chain) => AttributeId): FieldReader => ({
  attribute,
  read: (written, chain) => [blockAtom(written, attribute(chain) !== 'remoteIp')],
})
const SOURCE_BLOCK = block(() => 'sourceIp')
const DESTINATION_BLOCK = block(() => 'destinationIp')
/** On TCP there is no header to say otherwise: the address is the connection's own. */
const REMOTE_BLOCK = block((chain) => (chain === 'tcp' ? 'sourceIp' : 'remoteIp'))
const METHOD = of('method', (written) => [generalPattern(written)])
const PATH = of('path', (written) => [
  isTemplate(written) ? templatePattern(written) : generalPattern(written),
])

const FIELDS: Readonly<Record<string, FieldReader>> = {
  principals: PRINCIPAL,
  namespaces: NAMESPACE,
  serviceAccounts: SERVICE_ACCOUNT,
  trustDomains: TRUST_DOMAIN,
  ipBlocks: SOURCE_BLOCK,
  remoteIpBlocks: REMOTE_BLOCK,
  hosts: HOST,
  ports: PORT,
  methods: METHOD,
  paths: PATH,
}

const KEYS: Readonly<Record<string, FieldReader>> = {
  'source.ip': SOURCE_BLOCK,
  'remote.ip': REMOTE_BLOCK,
  'source.namespace': NAMESPACE,
  'source.serviceAccount': SERVICE_ACCOUNT,
  'source.principal': PRINCIPAL,
  'source.trustDomain': TRUST_DOMAIN,
  'request.auth.audiences': claimReader(['aud']),
  'request.auth.presenter': claimReader(['azp']),
  'destination.ip': DESTINATION_BLOCK,
  'destination.port': PORT,
  'connection.sni': of('sni', (written) => [generalPattern(written)]),
}

/** What a source or an operation asks; fields as `linesOf` leaves them. */
export function readFields(fields: Source | Operation, chain: Chain): Alternatives {
  const entries = Object.entries(fields as Readonly<Record<string, readonly string[]>>)
  return allOf(
    entries.map(([name, values]) => {
      const negated = !Object.hasOwn(FIELDS, name) && name !== 'requestPrincipals'
      const positive = negated ? `${name.charAt(3).toLowerCase()}${name.slice(4)}` : name
      if (positive === 'requestPrincipals') return principalAlternatives(values, negated)
      return readList(FIELDS[positive], values, { negated, chain })
    }),
  )
}

/** What a `when` entry asks. */
export function readCondition({ key, values, notValues }: Condition, chain: Chain): Alternatives {
  const read = (list: readonly string[] | undefined, negated: boolean): Alternatives => {
    if (list === undefined) return [[]]
    if (key === 'request.auth.principal') return principalAlternatives(list, negated)
    return readList(readerOf(key), list, { negated, chain })
  }
  return allOf([read(values, false), read(notValues, true)])
}

/** Every combination of one alternative from each. */
export function allOf(parts: readonly Alternatives[]): Alternatives {
  return parts.reduce<Alternatives>(
    (all, part) => all.flatMap((left) => part.map((right) => [...left, ...right])),
    [[]],
  )
}

function readerOf(key: string): FieldReader | undefined {
  const header = readHeaderName(key)
  if (header !== undefined) return headerReader(header)
  const path = readClaimPath(key)
  if (path !== undefined) return claimReader(path)
  return Object.hasOwn(KEYS, key) ? KEYS[key] : undefined
}

function readList(
  field: FieldReader | undefined,
  values: readonly string[],
  { negated, chain }: { readonly negated: boolean; readonly chain: Chain },
): Alternatives {
  // Filter metadata: no sidecar of ours sets any, so nothing meets it.
  if (field === undefined) return negated ? [[]] : []
  const atoms = values.flatMap((written) => field.read(written, chain))
  return [[{ attribute: field.attribute(chain), atoms, negated }]]
}

function headerReader(name: string): FieldReader {
  if (name === ':method') return METHOD
  const isHost = name === 'host' || name === ':authority'
  return of(isHost ? 'host' : `header:${name}`, (written) => [
    generalPattern(written, { present: 'any' }),
  ])
}

function claimReader(path: readonly string[]): FieldReader {
  return of(claimId(path), (written) => [generalPattern(written)])
}

/** The attribute of a claim by its path. */
export function claimId(path: readonly string[]): AttributeId {
  return `claim:${JSON.stringify(path)}`
}

/** Registered claims that are one text, and those that are numbers (RFC 7519 §4.1). */
const TEXT_CLAIMS = ['iss', 'sub', 'jti']
const TIME_CLAIMS = ['exp', 'nbf', 'iat']

/**
 * What texts a claim of a token that is taken can have: one `text` or none, a `list` of any, or `never` one. Of the
 * registered claims a token is refused that has anything else in them (§3.3).
 */
export function claimShape(attribute: AttributeId): 'text' | 'list' | 'never' {
  const [name = '', ...inner] = JSON.parse(attribute.slice('claim:'.length)) as readonly string[]
  if (TIME_CLAIMS.includes(name)) return 'never'
  if (inner.length > 0) return [...TEXT_CLAIMS, 'aud'].includes(name) ? 'never' : 'list'
  return TEXT_CLAIMS.includes(name) ? 'text' : 'list'
}

/** Issuer and subject are two attributes: each value is two literals, and "none of them" one of two for each. */
function principalAlternatives(values: readonly string[], negated: boolean): Alternatives {
  const pairs = [...new Set(values)].map((written) => {
    const { issuer, subject } = principalPatterns(written)
    return [literalOf(['iss'], issuer, negated), literalOf(['sub'], subject, negated)] as const
  })
  if (!negated) return pairs
  return allOf(pairs.map(([issuer, subject]) => [[issuer], [subject]]))
}

function literalOf(path: readonly string[], pattern: Pattern, negated: boolean): Literal {
  return { attribute: claimId(path), atoms: [textAtom(pattern)], negated }
}

/** §1.5's table; the last slash divides. */
function principalPatterns(written: string): {
  readonly issuer: Pattern
  readonly subject: Pattern
} {
  const slash = written.lastIndexOf('/')
  const issuer = slash === -1 ? written : written.slice(0, slash)
  const subject = slash === -1 ? '' : written.slice(slash + 1)
  const any = generalPattern('*')
  if (written === '*') return { issuer: any, subject: any }
  if (written.startsWith('*')) {
    return slash === -1
      ? { issuer: any, subject: generalPattern(written) }
      : { issuer: generalPattern(`*${issuer.slice(1)}`), subject: exactPattern(subject) }
  }
  if (written.endsWith('*')) {
    if (slash === -1) return { issuer: generalPattern(written), subject: any }
    const start = subject.slice(0, -1)
    return {
      issuer: exactPattern(issuer),
      subject: start === '' ? any : prefixPattern(start),
    }
  }
  return { issuer: exactPattern(issuer), subject: exactPattern(subject) }
}

function textAtom(pattern: Pattern): Atom {
  const { phrase, exact } = pattern
  const known = new Map<string, boolean>()
  return {
    phrase,
    pattern,
    ...(exact === undefined ? {} : { exact }),
    meets: (value) => {
      if (value === undefined) return false
      const before = known.get(value)
      if (before !== undefined) return before
      const met = matchesPattern(pattern, value)
      known.set(value, met)
      return met
    },
  }
}

function blockAtom(written: string, isSocket: boolean): Atom {
  const range = readBlock(written)
  const read = isSocket ? readSocketAddress : readAddress
  return {
    phrase: `is in ${written}`,
    name: written,
    meets: (value) => value !== undefined && range !== undefined && blockHas(range, read(value)),
  }
}
