/** How a certificate is written: what the rules on encoding look at, and nothing is refused for. */
import { CaError } from '../error.ts'
import { contextTag, readOid, TAG } from '../x509/der.ts'
import { OID } from '../x509/index.ts'
import { berChildren, type BerElement, readBer } from './ber.ts'

/** An AlgorithmIdentifier (RFC 5280 §4.1.1.2). */
export interface AlgorithmAnatomy {
  /** Dotted. */
  readonly name: string
  /** Tag of the parameters; left out when they are. */
  readonly parameters?: number
  readonly raw: Uint8Array
}

export interface ExtensionAnatomy {
  /** Dotted. */
  readonly name: string
  readonly critical: boolean
  /** The byte that says whether it is critical, where there is one. */
  readonly flag?: number
  readonly value: Uint8Array
}

export interface Anatomy {
  /** 1 to 3 where it is honest. */
  readonly version: number
  /** Inside what is signed, and beside the signature. */
  readonly algorithm: AlgorithmAnatomy
  readonly outerAlgorithm: AlgorithmAnatomy
  readonly issuerIsEmpty: boolean
  readonly subjectIsEmpty: boolean
  readonly commonNames: readonly string[]
  /** NotBefore and notAfter as they are written. */
  readonly times: readonly { readonly tag: number; readonly text: string }[]
  readonly keyAlgorithm: AlgorithmAnatomy
  readonly hasUniqueIdentifiers: boolean
  readonly extensions: readonly ExtensionAnatomy[]
}

/** @throws {CaError} `CA_DER_INVALID` if it does not have the parts of a certificate */
export function readAnatomy(der: Uint8Array): Anatomy {
  const [tbs, outer] = partsOf(readBer(der), 3)
  const fields = [...berChildren(part(tbs))]
  const version = fields[0]?.tag === contextTag(0) ? fields.shift() : undefined
  const [, algorithm, issuer, validity, subject, spki, ...others] = fields
  return {
    version: version ? (part(berChildren(version)[0]).body.at(-1) ?? 0) + 1 : 1,
    algorithm: algorithmOf(part(algorithm)),
    outerAlgorithm: algorithmOf(part(outer)),
    issuerIsEmpty: part(issuer).body.length === 0,
    subjectIsEmpty: part(subject).body.length === 0,
    commonNames: commonNamesOf(part(subject)),
    times: berChildren(part(validity)).map(({ tag, body }) => ({ tag, text: textOf(body) })),
    keyAlgorithm: algorithmOf(part(berChildren(part(spki))[0])),
    hasUniqueIdentifiers: others.some(({ tag }) => (tag & 0x1f) === 1 || (tag & 0x1f) === 2),
    extensions: extensionsOf(others.find(({ tag }) => tag === contextTag(3))),
  }
}

function partsOf(element: BerElement, count: number): readonly BerElement[] {
  const parts = berChildren(element)
  if (parts.length !== count) throw refused(`it has ${parts.length} parts, expected ${count}`)
  return parts
}

function part(element: BerElement | undefined): BerElement {
  if (!element) throw refused('a part of it is missing')
  return element
}

function algorithmOf(element: BerElement): AlgorithmAnatomy {
  const [name, parameters] = berChildren(element)
  return {
    name: nameOf(part(name)),
    ...(parameters && { parameters: parameters.tag }),
    raw: element.raw,
  }
}

function nameOf(element: BerElement): string {
  return readOid(element)
}

/** Relative names are sets of pairs (RFC 5280 §4.1.2.4). */
function commonNamesOf(name: BerElement): readonly string[] {
  return berChildren(name)
    .flatMap(berChildren)
    .map(berChildren)
    .flatMap(([type, value]) =>
      type && value && nameOf(type) === OID.commonName ? [textOf(value.body)] : [],
    )
}

function extensionsOf(wrapper: BerElement | undefined): readonly ExtensionAnatomy[] {
  if (!wrapper) return []
  return berChildren(part(berChildren(wrapper)[0])).map((extension) => {
    const [name, second, third] = berChildren(extension)
    const flag = second?.tag === TAG.boolean ? second.body[0] : undefined
    return {
      name: nameOf(part(name)),
      critical: (flag ?? 0) !== 0,
      ...(flag !== undefined && { flag }),
      value: part(flag === undefined ? second : third).body,
    }
  })
}

/** Each byte one character. */
function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1')
}

function refused(why: string): CaError {
  return new CaError('CA_DER_INVALID', `Cannot read a certificate: ${why}`)
}
