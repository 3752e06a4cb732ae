/**
 * Every field and `when` key of §1.4 and §1.7: what it looks at, and how one written value is met.
 */
import type { TrustDomain } from '#ca/spiffe/index.ts'
import type { Connection, HttpAttributes } from '../model/index.ts'
import { isBlock, liesIn } from './network.ts'
import {
  matchesGeneralRule,
  matchesNamespace,
  matchesPrincipal,
  matchesRequestPrincipal,
  matchesServiceAccount,
  matchesTemplate,
  matchesTrustDomain,
} from './patterns.ts'

/** All that a comparison may look at. */
export interface Scene {
  readonly connection: Connection
  readonly http: HttpAttributes | undefined
  /** Namespace of the policy, for accounts written without one. */
  readonly namespace: string
  /** The mesh's trust domain, then its aliases. */
  readonly trustDomains: readonly TrustDomain[]
}

export interface Field {
  /** Exists on HTTP alone (§1.8). */
  readonly httpOnly: boolean
  /** Whether a written value means anything; one that does not is treated by §1.8, last line. */
  readonly readable: (written: string) => boolean
  /** What is compared, for people; empty when the attempt has none. */
  readonly seen: (scene: Scene) => readonly string[]
  readonly meets: (written: string, scene: Scene) => boolean
}

const ALWAYS = () => true
const NEVER = () => false
const NOTHING = () => []

const principal = ofPeer((written, uri, scene) =>
  aliasesOf(written, scene.trustDomains).some((one) => matchesPrincipal(one, uri)),
)
const namespace = ofPeer(matchesNamespace)
const serviceAccount = ofPeer((written, uri, scene) =>
  matchesServiceAccount(written.includes('/') ? written : `${scene.namespace}/${written}`, uri),
)
const trustDomain = ofPeer((written, uri, { trustDomains }) => {
  const isMember = trustDomains.some((member) => member === written)
  return (isMember ? trustDomains : [written]).some((one) => matchesTrustDomain(one, uri))
})
const sourceIp = ofAddress(({ connection }) => connection.sourceIp, ALWAYS)
const destinationIp = ofAddress(({ connection }) => connection.destinationIp, ALWAYS)
const remoteIp = ofAddress(
  ({ connection, http }) => http?.remoteIp ?? connection.sourceIp,
  ({ http }) => http === undefined,
)
const port: Field = {
  httpOnly: false,
  readable: (written) => /^\d{1,9}$/.test(written) && Number(written) < 65_536,
  seen: ({ connection }) => [String(connection.destinationPort)],
  meets: (written, { connection }) => Number(written) === connection.destinationPort,
}
const sni: Field = {
  httpOnly: false,
  readable: ALWAYS,
  seen: ({ connection }) => (connection.sni === undefined ? [] : [connection.sni]),
  meets: (written, { connection: { sni: name = '' } }) =>
    matchesGeneralRule(written, name, name !== ''),
}
const method = ofHttp(
  (http) => [http.method],
  (written, text) => matchesGeneralRule(written, text, text !== ''),
)
const host = ofHttp(
  (http) => (http.host === undefined ? [] : [http.host]),
  (written, text) => matchesGeneralRule(written.toLowerCase(), text.toLowerCase(), true),
)
const path = ofHttp(
  (http) => [http.path],
  (written, text) =>
    /\{\*\*?\}/.test(written)
      ? matchesTemplate(written, text)
      : matchesGeneralRule(written, text, text !== ''),
)
const requestPrincipal: Field = {
  httpOnly: true,
  readable: ALWAYS,
  seen: ({ http }) => {
    const [issuer] = claimTexts(http, ['iss'])
    const [subject] = claimTexts(http, ['sub'])
    return issuer === undefined || subject === undefined ? [] : [`${issuer}/${subject}`]
  },
  meets: (written, { http }) =>
    matchesRequestPrincipal(written, claimTexts(http, ['iss']), claimTexts(http, ['sub'])),
}
const metadata: Field = { httpOnly: false, readable: ALWAYS, seen: () => [], meets: () => false }

/** Fields of `source` and `operation`, by the name without `not`. */
export const FIELDS: Readonly<Record<string, Field>> = {
  principals: principal,
  requestPrincipals: requestPrincipal,
  namespaces: namespace,
  serviceAccounts: serviceAccount,
  trustDomains: trustDomain,
  ipBlocks: sourceIp,
  remoteIpBlocks: remoteIp,
  hosts: host,
  ports: port,
  methods: method,
  paths: path,
}

const KEYS = new Map<string, Field>([
  ['source.ip', sourceIp],
  ['remote.ip', remoteIp],
  ['source.namespace', namespace],
  ['source.serviceAccount', serviceAccount],
  ['source.principal', principal],
  ['source.trustDomain', trustDomain],
  ['request.auth.principal', requestPrincipal],
  ['request.auth.audiences', ofClaim(['aud'])],
  ['request.auth.presenter', ofClaim(['azp'])],
  ['destination.ip', destinationIp],
  ['destination.port', port],
  ['connection.sni', sni],
])

/** The field that a `when` key names. */
export function fieldOfKey(key: string): Field {
  if (key.startsWith('request.headers[')) return ofHeader(key.slice(16, -1).toLowerCase())
  if (key.startsWith('request.auth.claims[')) return ofClaim(claimNames(key.slice(20, -1)))
  if (/^request\.(headers|auth\.claims)/.test(key))
    return { ...ofHttp(NOTHING, NEVER), readable: NEVER }
  return KEYS.get(key) ?? metadata
}

/** `a][b` names a claim in a claim; other brackets belong to the name of one. */
function claimNames(text: string): readonly string[] {
  const names = text.split('][')
  return names.some((name) => /[[\]]/.test(name)) ? [text] : names
}

/** A principal in every trust domain that it stands for (§1.9). */
function aliasesOf(written: string, trustDomains: readonly string[]): readonly string[] {
  const parts = written.split('/')
  const [domain = ''] = parts
  if (parts.length !== 5 || domain === '*') return [written]
  const fits = (member: string) => matchesGeneralRule(domain, member, true)
  if (domain !== 'cluster.local' && !trustDomains.some(fits)) return [written]
  return trustDomains.map((member) =>
    domain.startsWith('*') && fits(member) ? written : [member, ...parts.slice(1)].join('/'),
  )
}

function ofPeer(meets: (written: string, uri: string, scene: Scene) => boolean): Field {
  return {
    httpOnly: false,
    readable: ALWAYS,
    seen: ({ connection }) => (connection.peer === undefined ? [] : [connection.peer]),
    meets: (written, scene) =>
      scene.connection.peer !== undefined && meets(written, scene.connection.peer, scene),
  }
}

function ofAddress(address: (scene: Scene) => string, isSocket: (scene: Scene) => boolean): Field {
  return {
    httpOnly: false,
    readable: isBlock,
    seen: (scene) => [address(scene)],
    meets: (written, scene) => liesIn(written, address(scene), { socket: isSocket(scene) }),
  }
}

function ofHttp(
  texts: (http: HttpAttributes) => readonly string[],
  meets: (written: string, text: string) => boolean,
): Field {
  const seen = ({ http }: Scene) => (http === undefined ? [] : texts(http))
  return {
    httpOnly: true,
    readable: ALWAYS,
    seen,
    meets: (written, scene) => seen(scene).some((text) => meets(written, text)),
  }
}

function ofHeader(name: string): Field {
  const lines = (http: HttpAttributes): readonly string[] => {
    if (name === ':method') return [http.method]
    if (name === 'host' || name === ':authority') return http.host === undefined ? [] : [http.host]
    return http.header(name)
  }
  return ofHttp(lines, (written, text) => matchesGeneralRule(written, text, true))
}

function ofClaim(names: readonly string[]): Field {
  const seen = ({ http }: Scene) => claimTexts(http, names)
  return {
    httpOnly: true,
    readable: ALWAYS,
    seen,
    meets: (written, scene) =>
      seen(scene).some((text) => matchesGeneralRule(written, text, text !== '')),
  }
}

/** A claim's strings: its own, or those of its list. Numbers, booleans and objects are none. */
function claimTexts(http: HttpAttributes | undefined, names: readonly string[]): readonly string[] {
  const claim = names.reduce<unknown>(
    (value, name) =>
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? Object.entries(value).find(([own]) => own === name)?.[1]
        : undefined,
    http?.claims,
  )
  const texts: readonly unknown[] = Array.isArray(claim) ? claim : [claim]
  return texts.filter((text) => typeof text === 'string')
}
