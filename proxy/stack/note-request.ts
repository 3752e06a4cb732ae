import type { RequestHead } from '../http/request-head.ts'
import { FIELD } from '../http/field.ts'
import { textOf } from '../http/text.ts'
import type { RequestRecord } from '../telemetry/record.ts'
import { traceIdOf } from '../telemetry/trace-context.ts'

/** Notes what a request says of itself; `isLogging`: also what only a log line shows. */
export function noteRequest(record: RequestRecord, head: RequestHead, isLogging: boolean): void {
  record.method = head.method
  record.target = head.target
  record.authority = head.authority
  record.requestHeadBytes = head.fields.text.length
  if (!isLogging) return
  record.requestId = textOf(head.fields.firstOf(FIELD.requestId) ?? '')
  record.userAgent = textOf(head.fields.first('user-agent') ?? '')
  record.traceId = traceIdOf(head.fields.first('traceparent') ?? '') ?? ''
  record.forwardedFor = textOf(head.fields.first('x-forwarded-for') ?? '')
}
