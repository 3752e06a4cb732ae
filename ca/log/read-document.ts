/** Heads and proofs from JSON that somebody kept or sent: nothing of it is believed before it is read. */
import { CaError } from '../error.ts'
import type { ConsistencyProof, InclusionProof } from './document.ts'
import type { LifeReason } from './entry.ts'
import type { SignedHead } from './head.ts'

/** Hashes in a path: a tree of 2^64 leaves needs fewer. */
const MAX_PATH = 128

type Members = Readonly<Record<string, unknown>>

/**
 * A head from JSON.
 *
 * @throws {CaError} `CA_LOG_INVALID` if it is no head
 */
export function readHead(text: string): SignedHead {
  return headOf(parse(text, 'a tree head'), 'a tree head')
}

/**
 * A proof from JSON.
 *
 * @throws {CaError} `CA_LOG_INVALID` if it is no proof
 */
export function readProof(text: string): InclusionProof | ConsistencyProof {
  const what = 'a proof'
  const value = parse(text, what)
  const { kind } = value
  if (kind !== 'inclusion' && kind !== 'consistency') {
    throw refused(what, 'its "kind" is neither "inclusion" nor "consistency"')
  }
  const head = headOf(asMembers(value['head']), what)
  const path = pathOf(value['path'], what)
  if (kind === 'consistency') {
    return { kind, first: member(value, 'first', 'number', what), head, path }
  }
  const index = member(value, 'index', 'number', what)
  return { kind, head, index, entry: entryOf(asMembers(value['entry']), what), path }
}

function entryOf(entry: Members, what: string): InclusionProof['entry'] {
  const text = (name: string): string => member(entry, name, 'string', what)
  const number = (name: string): number => member(entry, name, 'number', what)
  return {
    serial: text('serial'),
    kind: text('kind') as InclusionProof['entry']['kind'], // another one hashes to another leaf
    subject: text('subject'),
    issuer_serial: text('issuer_serial'),
    issued_at: number('issued_at'),
    not_before: number('not_before'),
    not_after: number('not_after'),
    requested_by: text('requested_by'),
    ...(entry['life'] ? { life: text('life') as LifeReason } : {}), // and so does another of these
  }
}

/** A head from members of JSON; `what` it is of is for the message. @throws {CaError} `CA_LOG_INVALID` */
export function headOf(value: Members, what: string): SignedHead {
  return {
    log: member(value, 'log', 'string', what),
    keyId: member(value, 'keyId', 'string', what),
    size: member(value, 'size', 'number', what),
    root: member(value, 'root', 'string', what),
    time: member(value, 'time', 'string', what),
    signature: member(value, 'signature', 'string', what),
  }
}

function pathOf(value: unknown, what: string): readonly string[] {
  const isPath =
    Array.isArray(value) &&
    value.length <= MAX_PATH &&
    value.every((hash) => typeof hash === 'string' && /^[0-9a-f]{64}$/.test(hash))
  if (isPath) return value as readonly string[]
  throw refused(what, 'its "path" is not a list of SHA-256 hashes in hex')
}

interface Types {
  readonly string: string
  readonly number: number
}

function member<T extends keyof Types>(
  members: Members,
  name: string,
  type: T,
  what: string,
): Types[T] {
  const value = members[name]
  if (typeof value === type) return value as Types[T]
  throw refused(what, `its "${name}" is not a ${type}`)
}

function parse(text: string, what: string): Members {
  try {
    return asMembers(JSON.parse(text))
  } catch (cause) {
    throw refused(what, 'it is not JSON', cause)
  }
}

function asMembers(value: unknown): Members {
  return (typeof value === 'object' && value ? value : {}) as Members
}

function refused(what: string, why: string, cause?: unknown): CaError {
  return new CaError('CA_LOG_INVALID', `Cannot read ${what}: ${why}`, { cause })
}
