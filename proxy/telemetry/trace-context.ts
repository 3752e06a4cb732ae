/**
 * Trace context (W3C Trace Context 1): what comes in goes on as it is, what is missing or broken is
 * begun here.
 */
import type { RequestRecord } from './record.ts'
import { hexBytes } from '../stack/identifiers.ts'

/** The header lines of a request that this module reads and drops. */
export interface TraceFields {
  readonly first: (name: string) => string | undefined
  readonly values: (name: string) => readonly string[]
  readonly dropNamed: (name: string) => void
}

export interface TraceOptions {
  /** Numbers in [0, 1). */
  readonly random: () => number
  /** Share of the traces begun here that are sampled, 0..1 (istio-semantics §13.5). @default 0.01 */
  readonly sampling?: number
}

/** Version 00 exactly; a later version may go on after a dash (§3.2.4 of the standard). */
const TRACEPARENT =
  /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?$/

/** The trace id of a `traceparent`; `undefined` when it is not valid. */
export function traceIdOf(traceparent: string): string | undefined {
  const [, version, traceId, rest] = TRACEPARENT.exec(traceparent) ?? []
  return version === '00' && rest !== undefined ? undefined : traceId
}

/**
 * Takes the trace on or begins one. Notes its id in `record` and returns the lines to add, '' when
 * what is there goes on. A broken `traceparent` is dropped, and `tracestate` with it (§3.4).
 */
export function continueTrace(
  fields: TraceFields,
  record: Pick<RequestRecord, 'traceId'>,
  { random, sampling = 0.01 }: TraceOptions,
): string {
  const traceparent = fields.first('traceparent')
  if (traceparent !== undefined) {
    const known = fields.values('traceparent').length === 1 ? traceIdOf(traceparent) : undefined
    if (known !== undefined) {
      record.traceId = known
      return ''
    }
    fields.dropNamed('traceparent')
    fields.dropNamed('tracestate')
  }
  const traceId = hexBytes(16, random)
  record.traceId = traceId
  return `traceparent: 00-${traceId}-${hexBytes(8, random)}-${random() < sampling ? '01' : '00'}\r\n`
}
