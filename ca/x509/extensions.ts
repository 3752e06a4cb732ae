/** Certificate extensions (RFC 5280 §4.2): those that decide something here; the rest by name. */
import { CaError } from '../error.ts'
import {
  contextTag,
  cursor,
  type DerNode,
  parseDer,
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
  readonly critical: boolean
  readonly value: Uint8Array
}

/** Reads `[3]`, or its absence. @throws {CaError} `CA_DER_INVALID` */
export function readExtensions(wrapper: DerNode | undefined): Extensions {
  const byName = collect(wrapper)
  const value = (name: string) => byName.get(name)?.value
  const sans = mapValue(value(OID.subjectAltName), readSans) ?? []
  const constraints = mapValue(value(OID.basicConstraints), readBasicConstraints)
  return {
    sans,
    sanIsCritical: byName.get(OID.subjectAltName)?.critical ?? false,
    uriSans: sans.filter(({ type }) => type === URI).map(({ value: uri }) => latin1(uri)),
    isCa: constraints?.isCa ?? false,
    hasBasicConstraints: constraints !== undefined,
    ...given('pathLength', constraints?.pathLength),
    ...given('keyUsage', mapValue(value(OID.keyUsage), readKeyUsage)),
    keyUsageIsCritical: byName.get(OID.keyUsage)?.critical ?? false,
    ...given('extendedKeyUsage', mapValue(value(OID.extendedKeyUsage), readExtendedKeyUsage)),
    ...given('ski', mapValue(value(OID.subjectKeyIdentifier), readSki)),
    ...given('aki', mapValue(value(OID.authorityKeyIdentifier), readAki)),
    ...given('nameConstraints', mapValue(value(OID.nameConstraints), readNameConstraints)),
    unknownCritical: [...byName].flatMap(([name, { critical }]) =>
      critical && !UNDERSTOOD.has(name) ? [name] : [],
    ),
  }
}

const URI = 6

/** Policies are understood in that none is ever required. */
const UNDERSTOOD: ReadonlySet<string> = new Set([
  OID.subjectAltName,
  OID.basicConstraints,
  OID.keyUsage,
  OID.extendedKeyUsage,
  OID.subjectKeyIdentifier,
  OID.authorityKeyIdentifier,
  OID.nameConstraints,
  OID.certificatePolicies,
])

function collect(wrapper: DerNode | undefined): ReadonlyMap<string, Extension> {
  const byName = new Map<string, Extension>()
  const [list, ...others] = wrapper?.children ?? []
  if (!list) return byName
  if (others.length > 0) throw refused('it has two lists of extensions')
  for (const node of cursor(list, 'extensions').rest()) {
    const fields = cursor(node, 'extension')
    const name = readOid(fields.take(TAG.oid, 'identifier'))
    const flag = fields.takeIf(TAG.boolean)
    const { body: value } = fields.take(TAG.octetString, 'value')
    fields.end('extension')
    if (byName.has(name)) throw refused(`it has the extension ${name} twice`)
    if (flag && !readBoolean(flag)) throw refused('a default is written out, which DER forbids')
    byName.set(name, { critical: flag !== undefined, value })
  }
  return byName
}

function mapValue<T>(value: Uint8Array | undefined, read: (node: DerNode) => T): T | undefined {
  return value === undefined ? undefined : read(parseDer(value))
}

/** `{ [name]: value }`, or nothing when there is no value: left out is not undefined. */
function given<Name extends string, T>(
  name: Name,
  value: T | undefined,
): { readonly [key in Name]?: T } {
  return value === undefined ? {} : ({ [name]: value } as { readonly [key in Name]: T })
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

function readBasicConstraints(node: DerNode): { isCa: boolean; pathLength?: number } {
  const fields = cursor(node, 'basic constraints')
  const flag = fields.takeIf(TAG.boolean)
  const length = fields.takeIf(TAG.integer)
  fields.end('basic constraints')
  if (flag && !readBoolean(flag)) throw refused('a default is written out, which DER forbids')
  if (length && !flag) throw refused('it limits the path below it and is no CA')
  return {
    isCa: flag !== undefined,
    ...given('pathLength', length && readSmallInteger(length)),
  }
}

function readKeyUsage({ tag, body }: DerNode): readonly KeyUsage[] {
  const [unused = 0, ...bytes] = body
  if (tag !== TAG.bitString || bytes.length > 2 || unused > 7) throw refused('its key usage is odd')
  return KEY_USAGES.filter((_, bit) => ((bytes[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0)
}

function readExtendedKeyUsage(node: DerNode): readonly string[] {
  return cursor(node, 'extended key usage').rest().map(readOid)
}

function readSki({ tag, body }: DerNode): Uint8Array {
  if (tag !== TAG.octetString) throw refused('its subject key identifier is odd')
  return body
}

function readAki(node: DerNode): Uint8Array | undefined {
  return cursor(node, 'authority key identifier').takeIf(contextTag(0, 'primitive'))?.body
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}

function refused(why: string): CaError {
  return new CaError('CA_DER_INVALID', `Cannot read a certificate: ${why}`)
}
