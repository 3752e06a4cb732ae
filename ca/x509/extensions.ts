/** Certificate extensions (RFC 5280 §4.2): those that decide something here; the rest by name. */
import { CaError } from '../error.ts'
import {
  contextTag,
  cursor,
  type DerNode,
  parseContent,
  readBoolean,
  readOid,
  readSmallInteger,
  TAG,
} from './der.ts'
import { type NameConstraints, readNameConstraints } from './name-constraints.ts'
import { OID } from './oid.ts'

/** One SubjectAltName entry: its context tag number (RFC 5280 §4.2.1.6; 2 DNS, 6 URI, 7 IP) and content. */
export interface GeneralName {
  readonly type: number
  readonly value: Uint8Array
}

/** Names of keyUsage bits, by position (RFC 5280 §4.2.1.3). */
const KEY_USAGES = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const

export type KeyUsage = (typeof KEY_USAGES)[number]

/** What the extensions say. A field left out is an extension that the certificate does not have. */
export interface Extensions {
  /** All alternative names; empty without the extension. */
  readonly sans: readonly GeneralName[]
  readonly sanIsCritical: boolean
  /** URI names, each byte one character: a NUL or a byte above 0x7f stays visible to whoever parses it. */
  readonly uriSans: readonly string[]
  readonly isCa: boolean
  readonly hasBasicConstraints: boolean
  /** CA certificates that may follow below this one, not counting self-issued ones. */
  readonly pathLength?: number
  readonly keyUsage?: readonly KeyUsage[]
  readonly keyUsageIsCritical: boolean
  /** Dotted identifiers. */
  readonly extendedKeyUsage?: readonly string[]
  readonly ski?: Uint8Array
  /** The key identifier inside AuthorityKeyIdentifier. */
  readonly aki?: Uint8Array
  readonly nameConstraints?: NameConstraints
  /** Critical extensions that nothing here understands. Any makes the certificate unusable (§4.2). */
  readonly unknownCritical: readonly string[]
}

interface Extension {
  readonly name: string
  readonly critical: boolean
  /** An OCTET STRING. */
  readonly value: DerNode
}

/** {@link Extensions} while they are being read. */
type Found = { -readonly [Name in keyof Extensions]: Extensions[Name] } & {
  readonly unknownCritical: string[]
}

/** Reads `[3]`, or its absence. @throws {CaError} `CA_DER_INVALID` */
export function readExtensions(wrapper: DerNode | undefined): Extensions {
  const found: Found = {
    sans: [],
    sanIsCritical: false,
    uriSans: [],
    isCa: false,
    hasBasicConstraints: false,
    keyUsageIsCritical: false,
    unknownCritical: [],
  }
  for (const extension of collect(wrapper)) note(found, extension)
  return found
}

/** Puts down what one extension says. */
function note(found: Found, { name, critical, value }: Extension): void {
  switch (name) {
    case OID.subjectAltName:
      found.sans = readSans(parseContent(value))
      found.sanIsCritical = critical
      found.uriSans = found.sans.filter(isUri).map(textOf)
      return
    case OID.basicConstraints:
      found.hasBasicConstraints = true
      noteBasicConstraints(found, parseContent(value))
      return
    case OID.keyUsage:
      found.keyUsage = readKeyUsage(parseContent(value))
      found.keyUsageIsCritical = critical
      return
    case OID.extendedKeyUsage:
      found.extendedKeyUsage = cursor(parseContent(value), 'extended key usage').rest().map(readOid)
      return
    case OID.subjectKeyIdentifier:
      found.ski = readSki(parseContent(value))
      return
    case OID.authorityKeyIdentifier:
      noteAki(found, parseContent(value))
      return
    case OID.nameConstraints:
      found.nameConstraints = readNameConstraints(parseContent(value))
      return
    case OID.certificatePolicies:
      return // understood in that none is ever required
  }
  if (critical) found.unknownCritical.push(name)
}

function collect(wrapper: DerNode | undefined): readonly Extension[] {
  const [list, ...others] = wrapper?.children ?? []
  if (!list) return []
  if (others.length > 0) throw refused('it has two lists of extensions')
  const all: Extension[] = []
  const names = new Set<string>()
  for (const node of cursor(list, 'extensions').rest()) {
    const fields = cursor(node, 'extension')
    const name = readOid(fields.take(TAG.oid, 'identifier'))
    const flag = fields.takeIf(TAG.boolean)
    const value = fields.take(TAG.octetString, 'value')
    fields.end('extension')
    if (names.has(name)) throw refused(`it has the extension ${name} twice`)
    names.add(name)
    if (flag && !readBoolean(flag)) throw refused('a default is written out, which DER forbids')
    all.push({ name, critical: flag !== undefined, value })
  }
  return all
}

const URI = 6

function isUri({ type }: GeneralName): boolean {
  return type === URI
}

function readSans(node: DerNode): readonly GeneralName[] {
  const names = cursor(node, 'alternative names').rest()
  if (names.length === 0) throw refused('its list of alternative names is empty')
  return names.map(({ tag, body }) => {
    if ((tag & 0xc0) !== 0x80 || (tag & 0x1f) > 8) throw refused('an alternative name has no type')
    const type = tag & 0x1f
    if (tag !== contextTag(type, CONSTRUCTED_NAMES.has(type) ? 'constructed' : 'primitive')) {
      throw refused('an alternative name has the wrong form for its type')
    }
    return { type, value: body }
  })
}

/** otherName, x400Address, directoryName, ediPartyName. */
const CONSTRUCTED_NAMES: ReadonlySet<number> = new Set([0, 3, 4, 5])

function noteBasicConstraints(found: Found, node: DerNode): void {
  const fields = cursor(node, 'basic constraints')
  const flag = fields.takeIf(TAG.boolean)
  const length = fields.takeIf(TAG.integer)
  fields.end('basic constraints')
  if (flag && !readBoolean(flag)) throw refused('a default is written out, which DER forbids')
  if (length && !flag) throw refused('it limits the path below it and is no CA')
  found.isCa = flag !== undefined
  if (length) found.pathLength = readSmallInteger(length)
}

function readKeyUsage({ tag, body }: DerNode): readonly KeyUsage[] {
  const [unused = 0, first = 0, second = 0] = body
  if (tag !== TAG.bitString || body.length > 3 || unused > 7) throw refused('its key usage is odd')
  const bits = (first << 8) | second
  return KEY_USAGES.filter((_, bit) => (bits & (0x8000 >> bit)) !== 0)
}

function readSki({ tag, body }: DerNode): Uint8Array {
  if (tag !== TAG.octetString) throw refused('its subject key identifier is odd')
  return body
}

function noteAki(found: Found, node: DerNode): void {
  const id = cursor(node, 'authority key identifier').takeIf(KEY_IDENTIFIER)
  if (id) found.aki = id.body
}

const KEY_IDENTIFIER = contextTag(0, 'primitive')

function textOf({ value }: GeneralName): string {
  return Buffer.from(value.buffer, value.byteOffset, value.length).toString('latin1')
}

function refused(why: string): CaError {
  return new CaError('CA_DER_INVALID', `Cannot read a certificate: ${why}`)
}
