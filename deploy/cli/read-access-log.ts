/** Requests out of access logs: JSON lines as sidecars write them (istio-semantics §13.3). */
import { parseSpiffeId, type SpiffeId } from '#ca/spiffe/index.ts'
import type { LoggedRequest } from '#policy/index.ts'

/** Requests that reached a workload's sidecar. Lines of other kinds, and of callers, are passed over. */
export function readAccessLog(text: string): readonly LoggedRequest[] {
  return text.split('\n').flatMap((line) => {
    const start = line.indexOf('{')
    const fields = start === -1 ? undefined : parseFields(line.slice(start))
    return fields === undefined ? [] : readRequest(fields)
  })
}

type Fields = Readonly<Record<string, unknown>>

function readRequest(fields: Fields): readonly LoggedRequest[] {
  const text = (key: string): string | undefined => {
    const value = fields[key]
    return typeof value === 'string' && value !== '' ? value : undefined
  }
  const workload = text('destination_workload')
  const [method, target] = [text('method'), text('path')]
  const isInbound = fields['reporter'] === 'destination'
  if (!isInbound || workload === undefined || method === undefined || target === undefined)
    return []
  const [, port] = /^inbound\|(\d+)\|/.exec(text('upstream_cluster') ?? '') ?? []
  return [
    {
      workload,
      port: port === undefined ? undefined : Number(port),
      from: identityOf(text('source_principal')),
      method,
      target,
      host: text('authority'),
      sourceIp: text('downstream_remote_address')?.replace(/:\d+$/, ''),
      forwardedFor: text('x_forwarded_for'),
      userAgent: text('user_agent'),
    },
  ]
}

/** What is no identity was none: plaintext is logged as `unknown`. */
function identityOf(text: string | undefined): SpiffeId | undefined {
  return text?.startsWith('spiffe://') ? parseSpiffeId(text) : undefined
}

function parseFields(line: string): Fields | undefined {
  try {
    return JSON.parse(line) as Fields
  } catch {
    return undefined // A line that was cut, or another program's.
  }
}
