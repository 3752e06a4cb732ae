/** The last denials, with what was known of each: the answer to "why was this refused?". */
import type { Connection, Decide, Denied, HttpAttributes } from '#policy/model/index.ts'

/** Attributes of a request that a decision read; one that was not read is left out. */
export interface AttributesRead {
  readonly method?: string
  readonly path?: string
  readonly host?: string | null
  readonly remoteIp?: string
  readonly headers?: Readonly<Record<string, readonly string[]>>
  readonly claims?: Readonly<Record<string, unknown>> | null
}

export interface DenialEntry {
  /** Rises by one with each denial, from 1. */
  readonly sequence: number
  /** What `x-redoubt-decision` says: 32 hex digits. */
  readonly id: string
  readonly time: string
  readonly action: Denied['action']
  readonly reason: Denied['reason']
  readonly policy: string | null
  readonly rule: number | null
  /** ALLOW policies that applied and did not match. */
  readonly considered: readonly string[]
  readonly connection: Connection
  /** `undefined` for an opaque connection. */
  readonly request: AttributesRead | undefined
}

export interface DecisionRing {
  readonly add: (entry: Omit<DenialEntry, 'sequence'>) => void
  readonly find: (id: string) => DenialEntry | undefined
  /** Those with a sequence above `since`, oldest first, `limit` at most. */
  readonly list: (options: {
    readonly since: number
    readonly limit: number
  }) => readonly DenialEntry[]
}

/** A ring of the last `capacity` denials. */
export function createDecisionRing(capacity = 10_000): DecisionRing {
  const ring: DenialEntry[] = []
  let sequence = 0
  return {
    add(entry) {
      ring[sequence % capacity] = { sequence: sequence + 1, ...entry }
      sequence += 1
    },
    find: (id) => ring.find((entry) => entry.id === id),
    list({ since, limit }) {
      const first = Math.max(since, sequence - ring.length)
      const count = Math.min(limit, sequence - first)
      return Array.from(
        { length: Math.max(0, count) },
        (_, at) => ring[(first + at) % capacity],
      ).filter((entry) => entry !== undefined)
    },
  }
}

/** Characters of one value that are kept, and values of one header. */
const MAX_LENGTH = 512
const MAX_VALUES = 8

/**
 * Decides once more and watches what is read. Only for denials: there the second decision mostly
 * comes from the cache and costs a microsecond.
 */
export function attributesRead(decide: Decide, attributes: HttpAttributes): AttributesRead {
  const read: {
    -readonly [K in keyof AttributesRead]: AttributesRead[K]
  } = {}
  const headers: Record<string, readonly string[]> = {}
  decide({
    get method() {
      read.method = attributes.method
      return attributes.method
    },
    get path() {
      read.path = attributes.path.slice(0, MAX_LENGTH)
      return attributes.path
    },
    get host() {
      read.host = attributes.host?.slice(0, MAX_LENGTH) ?? null
      return attributes.host
    },
    get remoteIp() {
      read.remoteIp = attributes.remoteIp
      return attributes.remoteIp
    },
    get claims() {
      read.claims = attributes.claims ?? null
      return attributes.claims
    },
    header(name) {
      const values = attributes.header(name)
      headers[name] = values.slice(0, MAX_VALUES).map((value) => value.slice(0, MAX_LENGTH))
      return values
    },
  })
  return Object.keys(headers).length === 0 ? read : { ...read, headers }
}
