/** The deny-list on the wire. The CA's messages and ours have the same fields. */
import {
  type DenyChanges,
  type DenyKind,
  type DenyRecord,
  MAX_DENIALS,
  parseDenyEntry,
} from '#ca/x509/index.ts'
import { AgentError } from '../error.ts'
import type { DenyChanges as DenyChangesMessage, DenyEntry } from '../proto/gen/trust.ts'

/** Nothing has changed since the beginning: what a peer says that knows of no deny-list. */
const NOTHING: DenyChanges = { base: 0, generation: 0, entries: [] }

/**
 * @throws {AgentError} `AGENT_BUNDLE_INVALID` if there are too many entries, or one that is not
 *   understood: to leave it out would be to trust what somebody has denied
 */
export function denyChangesFromProto(message: DenyChangesMessage | undefined): DenyChanges {
  if (!message) return NOTHING
  const { base, generation, entries } = message
  if (entries.length > MAX_DENIALS) throw invalid(`it has ${entries.length} entries`)
  return {
    base: Number(base),
    generation: Number(generation),
    entries: entries.map(recordFromProto),
  }
}

function recordFromProto({ kind, value, untilMs, generation, lifted }: DenyEntry): DenyRecord {
  const until = Temporal.Instant.fromEpochMilliseconds(Number(untilMs))
  try {
    const entry = parseDenyEntry({ kind, value, until })
    return { ...entry, generation: Number(generation), lifted }
  } catch (cause) {
    throw invalid((cause as Error).message, cause)
  }
}

export function denyChangesToProto({ base, generation, entries }: DenyChanges): DenyChangesMessage {
  return {
    base: BigInt(base),
    generation: BigInt(generation),
    entries: entries.map((entry) => ({
      kind: entry.kind satisfies DenyKind,
      value: entry.value,
      untilMs: BigInt(entry.until.epochMilliseconds),
      generation: BigInt(entry.generation),
      lifted: entry.lifted,
    })),
  }
}

function invalid(why: string, cause?: unknown): AgentError {
  return new AgentError('AGENT_BUNDLE_INVALID', `Cannot take the deny-list: ${why}`, { cause })
}
