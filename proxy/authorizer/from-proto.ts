/** What an authorizer says over gRPC, as a verdict. */
import type { HeaderValueOption } from '../proto/gen/envoy/config/core/v3/base.ts'
import type {
  CheckResponse,
  DeniedHttpResponse,
  OkHttpResponse,
} from '../proto/gen/envoy/service/auth/v3/external_auth.ts'
import { type Changes, type HeaderEdit, NO_CHANGES, type Verdict } from './question.ts'

const DENIED = 403

/**
 * A status of 0 is a yes, whatever stands beside it; any other is a no, unless the authorizer says that
 * it has failed. Without a status only an `ok_response` is a yes.
 */
export function verdictFromProto({ status, httpResponse }: CheckResponse): Verdict {
  if (status === undefined && httpResponse?.$case !== 'okResponse') {
    return { kind: 'failed', detail: 'its answer has no status' }
  }
  if ((status?.code ?? 0) === 0) {
    const ok = httpResponse?.$case === 'okResponse' ? httpResponse.okResponse : undefined
    return { kind: 'allow', changes: ok === undefined ? NO_CHANGES : changesFromProto(ok) }
  }
  if (httpResponse?.$case === 'errorResponse') {
    const wanted = statusOf(httpResponse.errorResponse)
    const detail = `it failed: ${status?.message || `status ${status?.code}`}`
    return { kind: 'failed', detail, ...(wanted === undefined ? {} : { status: wanted }) }
  }
  if (httpResponse?.$case !== 'deniedResponse') {
    return { kind: 'deny', status: DENIED, headers: [], body: '' }
  }
  const { deniedResponse: denied } = httpResponse
  const headers = denied.headers.map((option) => [nameOf(option), textOf(option)] as const)
  const body = Buffer.from(denied.body, 'utf8').toString('latin1')
  return { kind: 'deny', status: statusOf(denied) ?? DENIED, headers, body }
}

function statusOf({ status }: DeniedHttpResponse): number | undefined {
  const code = status?.code ?? 0
  return code >= 200 && code <= 599 ? code : undefined
}

function changesFromProto(ok: OkHttpResponse): Changes {
  return {
    request: [
      ...ok.headers.map(requestEdit),
      ...ok.headersToRemove.map((name): HeaderEdit => {
        return { kind: 'remove', name: name.toLowerCase(), value: '' }
      }),
    ],
    response: ok.responseHeadersToAdd.map(responseEdit),
    setParameters: ok.queryParametersToSet.map(({ key, value }) => [key, value] as const),
    removeParameters: ok.queryParametersToRemove,
  }
}

/** Of a request Envoy reads `append` alone: what is not appended is set, so that no claim of the caller stays. */
function requestEdit(option: HeaderValueOption): HeaderEdit {
  const kind = option.append ? 'append' : 'set'
  return { kind, name: nameOf(option), value: textOf(option) }
}

/** By number, as on the wire; the first is what is meant when nothing is said. */
const ACTIONS = ['add', 'add-if-absent', 'set', 'set-if-present'] as const

function responseEdit(option: HeaderValueOption): HeaderEdit {
  const { append, appendAction } = option
  const said = ACTIONS[appendAction] ?? 'set'
  const kind = append === undefined ? said : append ? 'add' : 'set'
  return { kind, name: nameOf(option), value: textOf(option) }
}

function nameOf({ header }: HeaderValueOption): string {
  return (header?.key ?? '').toLowerCase()
}

/** latin1, so that one character is one byte. */
function textOf({ header }: HeaderValueOption): string {
  if (header === undefined) return ''
  const { value, rawValue } = header
  return (rawValue.length > 0 ? rawValue : Buffer.from(value, 'utf8')).toString('latin1')
}
