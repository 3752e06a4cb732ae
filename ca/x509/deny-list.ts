/**
 * The deny-list: what is no longer trusted although its certificate is in time and in order. It is
 * handed on by generations, from the CA to agents and from them to sidecars, as changes since the
 * last one. An entry ends by itself when nothing that it names can be valid any more, so the list
 * holds what was revoked within the life of a certificate and no history.
 */
import { CaError } from '../error.ts'
import { parseSpiffeId, trustDomainOf } from '../spiffe/index.ts'

/** What an entry names: one certificate, one identity whoever issued it, or one key of a CA or a leaf. */
export type DenyKind = 'serial' | 'spiffe-id' | 'key-id'

/** One thing that is not trusted. */
export interface DenyEntry {
  readonly kind: DenyKind
  /**
   * `serial`: lower-case hex without leading zero bytes. `key-id`: the subject key identifier in
   * lower-case hex, of a leaf or of any CA above it. `spiffe-id`: the whole ID.
   */
  readonly value: string
  /** When the entry ends by itself: the end of the last certificate that it names. */
  readonly until: Temporal.Instant
}

/** An entry with its place in the history of the list. */
export interface DenyRecord extends DenyEntry {
  /** Of the list, when this was last put on it or taken off it. */
  readonly generation: number
  /** It was taken off before its end. Kept until then, for those who have not heard of it yet. */
  readonly lifted: boolean
}

/** The list at one moment. */
export interface DenyList {
  /** Only grows; 0: nothing was ever denied. */
  readonly generation: number
  /** At most {@link MAX_DENIALS}, one for each kind and value, those that were lifted too. */
  readonly entries: readonly DenyRecord[]
}

/** What makes a list of generation `base` one of `generation`. */
export interface DenyChanges {
  /** 0: the whole list. */
  readonly base: number
  readonly generation: number
  readonly entries: readonly DenyRecord[]
}

/** Entries of one list. Each sidecar holds them; who has more to deny denies a key or an identity. */
export const MAX_DENIALS = 10_000

/** Bytes of a value; a SPIFFE ID is the longest. */
const MAX_VALUE_BYTES = 2048

/** Nothing is denied. */
export const NO_DENIALS: DenyList = { generation: 0, entries: [] }

/** Whether something is on the list and has not ended. Constant time, however long the list. */
export type Denies = (kind: DenyKind, value: string, now: Temporal.Instant) => boolean

/** What of a verified peer an entry can name. */
export interface DeniablePeer {
  readonly id: string
  readonly serial: string
  /** Of the leaf and of each CA on the path to its root. */
  readonly keyIds: readonly string[]
}

/** Compiles a list for {@link findDenied}; `undefined` if nothing is on it, so that asking costs nothing. */
export function compileDenyList({ entries }: DenyList): Denies | undefined {
  const ends = new Map<string, number>()
  for (const { kind, value, until, lifted } of entries) {
    if (!lifted) ends.set(`${kind} ${value}`, until.epochMilliseconds)
  }
  if (ends.size === 0) return undefined
  return (kind, value, now) => (ends.get(`${kind} ${value}`) ?? 0) > now.epochMilliseconds
}

/** What of `peer` is denied, and is so at `now`. */
export function findDenied(
  denies: Denies | undefined,
  { id, serial, keyIds }: DeniablePeer,
  now: Temporal.Instant,
): { readonly kind: DenyKind; readonly value: string } | undefined {
  if (!denies) return undefined
  if (denies('serial', serial, now)) return { kind: 'serial', value: serial }
  if (denies('spiffe-id', id, now)) return { kind: 'spiffe-id', value: id }
  const value = keyIds.find((keyId) => denies('key-id', keyId, now))
  return value === undefined ? undefined : { kind: 'key-id', value }
}

/** The entries that hold at `now`. */
export function denialsInForce({ entries }: DenyList, now: Temporal.Instant): readonly DenyEntry[] {
  return entries.filter((entry) => !entry.lifted && isCurrent(entry, now))
}

/**
 * What a holder of generation `base` lacks, without what has ended. All of it for one who holds a
 * generation that this list never had: a CA restored from a backup counts again from where it was.
 */
export function denyChangesSince(
  { generation, entries }: DenyList,
  base: number,
  now: Temporal.Instant,
): DenyChanges {
  const from = base > generation ? 0 : base
  const isNews = (entry: DenyRecord): boolean =>
    isCurrent(entry, now) && (entry.generation > from || entry.generation > generation)
  return { base: from, generation, entries: entries.filter(isNews) }
}

/**
 * The list with `changes` in force, without what has ended. What is held and not spoken of stays:
 * a sender who has forgotten an entry cannot take it back, only one who says that it is lifted can.
 *
 * @throws {CaError} `CA_DENIAL_INVALID` if something between the two is missing, or it has too many
 *   entries; the list that was there should then stay in force
 */
export function applyDenyChanges(
  list: DenyList,
  { base, generation, entries }: DenyChanges,
  now: Temporal.Instant,
): DenyList {
  if (base > list.generation) {
    throw invalid(`take changes since generation ${base}`, `generation ${list.generation} is held`)
  }
  const merged = new Map(list.entries.map((entry) => [keyOf(entry), entry]))
  for (const entry of entries) {
    const held = merged.get(keyOf(entry))
    if (!held || entry.generation >= held.generation) merged.set(keyOf(entry), entry)
  }
  const kept = [...merged.values()].filter((entry) => isCurrent(entry, now))
  if (kept.length > MAX_DENIALS) {
    throw invalid('take the deny-list', `it has ${kept.length} entries, expected ${MAX_DENIALS}`)
  }
  return { generation, entries: kept }
}

/**
 * Reads an entry that somebody wrote or sent.
 *
 * @throws {CaError} `CA_DENIAL_INVALID` for another kind, or a value that is not in the form of its kind
 */
export function parseDenyEntry(entry: {
  readonly kind: string
  readonly value: string
  readonly until: Temporal.Instant
}): DenyEntry {
  const { kind, value, until } = entry
  const form = FORMS[kind as DenyKind]
  if (!form) throw invalid('deny', `the kind is "${kind}", expected serial, spiffe-id or key-id`)
  if (Buffer.byteLength(value) > MAX_VALUE_BYTES || !form.isValid(value)) {
    throw invalid(
      `deny ${kind} ${JSON.stringify(value.slice(0, 80))}`,
      `it is not ${form.expected}`,
    )
  }
  return { kind: kind as DenyKind, value, until }
}

interface Form {
  readonly isValid: (value: string) => boolean
  readonly expected: string
}

const FORMS: Readonly<Record<DenyKind, Form>> = {
  serial: {
    isValid: (value) => /^(?!00.)(?:[0-9a-f]{2}){1,20}$/.test(value), // RFC 5280 §4.1.2.2: 20 bytes
    expected: 'a serial in lower-case hex without leading zero bytes',
  },
  'key-id': {
    isValid: (value) => /^(?:[0-9a-f]{2}){8,64}$/.test(value),
    expected: 'a subject key identifier in lower-case hex',
  },
  'spiffe-id': { isValid: isSpiffeId, expected: 'a SPIFFE ID with a path' },
}

function isSpiffeId(value: string): boolean {
  try {
    const id = parseSpiffeId(value)
    return id.length > `spiffe://${trustDomainOf(id)}`.length
  } catch (cause) {
    if (cause instanceof CaError) return false
    throw cause
  }
}

function keyOf({ kind, value }: DenyEntry): string {
  return `${kind} ${value}`
}

function isCurrent({ until }: DenyEntry, now: Temporal.Instant): boolean {
  return Temporal.Instant.compare(until, now) > 0
}

function invalid(what: string, why: string): CaError {
  return new CaError('CA_DENIAL_INVALID', `Cannot ${what}: ${why}`)
}
