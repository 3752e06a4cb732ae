/** Name constraints (RFC 5280 §4.2.1.10), as far as a SPIFFE leaf can meet them. */
import { CaError } from '../error.ts'
import { contextTag, cursor, type DerNode } from './der.ts'

/** A subtree: the type of name it speaks of (RFC 5280's context tag number) and its content. */
export interface Subtree {
  readonly type: number
  readonly value: Uint8Array
}

/** Left out: says nothing. An empty list cannot be: the standard and the reader refuse it. */
export interface NameConstraints {
  readonly permitted?: readonly Subtree[]
  readonly excluded?: readonly Subtree[]
}

/** Reads the extension's value. @throws {CaError} `CA_DER_INVALID` */
export function readNameConstraints(node: DerNode): NameConstraints {
  const fields = cursor(node, 'name constraints')
  const permitted = fields.takeIf(contextTag(0))
  const excluded = fields.takeIf(contextTag(1))
  fields.end('name constraints')
  return {
    ...(permitted && { permitted: readSubtrees(permitted) }),
    ...(excluded && { excluded: readSubtrees(excluded) }),
  }
}

function readSubtrees(node: DerNode): readonly Subtree[] {
  if (node.children.length === 0) throw refused('a list of subtrees is empty')
  return node.children.map((subtree) => {
    const [base, ...others] = cursor(subtree, 'subtree').rest()
    // Minimum and maximum must be 0 and absent in this profile; zero is the default, so unwritten.
    if (!base || others.length > 0) throw refused('a subtree has limits, which RFC 5280 forbids')
    return { type: base.tag & 0x1f, value: base.body }
  })
}

/** What constraints are held against: the names of one leaf. */
export interface ConstrainedNames {
  readonly trustDomain: string
  readonly sans: readonly { readonly type: number }[]
  readonly subjectIsEmpty: boolean
}

/**
 * Whether a leaf with one URI name, its trust domain as host, is inside `constraints`.
 *
 * URI constraints are applied. A constraint on any other type of name that the leaf has is not met:
 * nothing here needs such names, and guessing would be failing open.
 */
export function meetsConstraints(constraints: NameConstraints, names: ConstrainedNames): boolean {
  const { permitted = [], excluded = [] } = constraints
  const types = new Set(names.sans.map(({ type }) => type))
  if (!names.subjectIsEmpty) types.add(DIRECTORY_NAME)
  if ([...permitted, ...excluded].some(({ type }) => type !== URI && types.has(type))) return false

  const isUnder = ({ value }: Subtree) => hostIsUnder(names.trustDomain, value)
  const permittedUris = permitted.filter(({ type }) => type === URI)
  if (permittedUris.length > 0 && !permittedUris.some(isUnder)) return false
  return !excluded.some((subtree) => subtree.type === URI && isUnder(subtree))
}

const URI = 6
const DIRECTORY_NAME = 4

/** A constraint that starts with a dot covers the names below it, any other that one host. */
function hostIsUnder(host: string, constraint: Uint8Array): boolean {
  const name = Buffer.from(constraint).toString('latin1')
  return name.startsWith('.') ? host.endsWith(name) : host === name
}

function refused(why: string): CaError {
  return new CaError('CA_DER_INVALID', `Cannot read a certificate: ${why}`)
}
