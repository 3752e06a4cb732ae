/**
 * One line of the access log: JSON with Istio's default keys (istio-semantics §13.3) and then ours.
 * Numbers stay numbers, what is absent is null. Written by hand, because a request pays for it.
 */
import type { Decision, Denied } from '#policy/model/index.ts'
import type { Edge } from './edge.ts'
import type { RequestRecord } from './record.ts'

/** @param startTime - ISO 8601, UTC, milliseconds */
export function accessLogLine(record: RequestRecord, startTime: string): string {
  const { decision } = record
  const isOpaque = record.protocol === 'TCP'
  const own = isOpaque ? opaqueKeys(record) : requestKeys(record)
  return `{"start_time":"${startTime}"${own}${connectionKeys(record)}${edgeKeys(
    record.edge,
  )}${decision === undefined ? '' : decisionKeys(decision, record.decisionId)}}`
}

function requestKeys(record: RequestRecord): string {
  const { details, decision } = record
  const detail = decision?.kind === 'deny' && details === '' ? denialDetail(decision) : details
  return (
    `,"method":${quoted(record.method)},"path":${quoted(withoutTokens(record.target))},"protocol":"${record.protocol}"` +
    `,"response_code":${record.status},"response_flags":"${record.flags}"` +
    `,"response_code_details":${quoted(detail)},"connection_termination_details":null` +
    `,"upstream_transport_failure_reason":${quoted(record.upstreamFailure)}` +
    `,"bytes_received":${record.bytesReceived},"bytes_sent":${record.bytesSent}` +
    `,"duration":${Math.round(record.durationMs)}` +
    `,"upstream_service_time":${record.upstreamMs < 0 ? 'null' : Math.round(record.upstreamMs)}` +
    `,"x_forwarded_for":${quoted(record.forwardedFor)},"user_agent":${quoted(record.userAgent)}` +
    `,"request_id":${quoted(record.requestId)},"authority":${quoted(record.authority)}`
  )
}

/** Of an opaque connection Envoy tells why it ended where it tells of a request why it was answered so. */
function opaqueKeys(record: RequestRecord): string {
  const { decision } = record
  const detail = decision?.kind === 'deny' ? denialDetail(decision) : ''
  return (
    `,"method":null,"path":null,"protocol":null` +
    `,"response_code":0,"response_flags":"${record.flags}"` +
    `,"response_code_details":null,"connection_termination_details":${quoted(detail)}` +
    `,"upstream_transport_failure_reason":null` +
    `,"bytes_received":${record.bytesReceived},"bytes_sent":${record.bytesSent}` +
    `,"duration":${Math.round(record.durationMs)},"upstream_service_time":null` +
    `,"x_forwarded_for":null,"user_agent":null,"request_id":null,"authority":null`
  )
}

/** Parameters that are tokens by their name (RFC 6750 §2.3), and anything that begins as a JWT does. */
const TOKENS = /((?:[?&]access_token=)|eyJ)[^&]*/g

/** A log is read by more people than a token is meant for (istio-semantics §3.4). */
function withoutTokens(target: string): string {
  if (!target.includes('access_token=') && !target.includes('eyJ')) return target
  return target.replace(TOKENS, (_, start: string) => (start === 'eyJ' ? '***' : `${start}***`))
}

function connectionKeys(record: RequestRecord): string {
  return (
    `,"upstream_host":${quoted(record.upstreamHost)},"upstream_cluster":${quoted(record.upstreamCluster)}` +
    `,"upstream_local_address":${quoted(record.upstreamLocalAddress)}` +
    `,"downstream_local_address":${quoted(record.downstreamLocalAddress)}` +
    `,"downstream_remote_address":${quoted(record.downstreamRemoteAddress)}` +
    `,"requested_server_name":${quoted(record.sni)},"route_name":${quoted(record.route)}` +
    `,"attempts":${record.attempts},"trace_id":${quoted(record.traceId)}`
  )
}

const EDGE_KEYS = new WeakMap<Edge, string>()

function edgeKeys(edge: Edge): string {
  const known = EDGE_KEYS.get(edge)
  if (known !== undefined) return known
  const { reporter, source, sourcePrincipal, destination, destinationPrincipal, service } =
    edge.labels
  const keys =
    `,"reporter":"${reporter}"` +
    `,"source_workload":${workload(source)},"source_principal":${quoted(sourcePrincipal ?? '')}` +
    `,"destination_workload":${workload(destination)}` +
    `,"destination_principal":${quoted(destinationPrincipal ?? '')}` +
    `,"destination_service":${quoted(service?.host ?? '')}`
  EDGE_KEYS.set(edge, keys)
  return keys
}

function workload(ref: Edge['labels']['source']): string {
  if (ref?.name === undefined) return 'null'
  return quoted(`${ref.namespace ?? 'unknown'}/${ref.name}`)
}

const DECISION_KEYS = new WeakMap<Decision, string>()

/** What was decided, by which policy and rule. Decisions come back from a cache, so their text does too. */
function decisionKeys(decision: Decision, id: string): string {
  let keys = DECISION_KEYS.get(decision)
  if (keys === undefined) {
    keys = renderDecision(decision)
    DECISION_KEYS.set(decision, keys)
  }
  return id === '' ? keys : `${keys},"decision_id":"${id}"`
}

function renderDecision(decision: Decision): string {
  const { policy, rule } = decision.kind === 'allow' ? decision.permit : decision
  const action =
    decision.kind === 'allow'
      ? policy === null
        ? 'none'
        : 'ALLOW'
      : decision.kind === 'ask'
        ? 'CUSTOM'
        : decision.action
  const facts = {
    decision: decision.kind === 'ask' ? 'deny' : decision.kind,
    action,
    policy,
    rule,
    ...(decision.kind === 'deny' && {
      reason: decision.reason,
      decision_reason: denialReason(decision),
    }),
    // A default denial has no policy to name: what helps is which ones were held against it.
    ...(decision.kind === 'deny' && policy === null && { considered: decision.considered }),
    ...(decision.dryRun.length > 0 && { dry_run: decision.dryRun }),
    ...(decision.audit.length > 0 && { audit: decision.audit }),
  }
  return `,${JSON.stringify(facts).slice(1, -1)}`
}

/** Why, in a sentence: the policy that denied, or the ALLOW policies that applied and did not match. */
export function denialReason({
  action,
  reason,
  policy,
  rule,
  considered,
  detail = '',
}: Pick<Denied, 'action' | 'reason' | 'policy' | 'rule' | 'considered' | 'detail'>): string {
  switch (reason) {
    case 'denied-by-policy':
      return `${action} policy ${policy} matched by rule ${rule}`
    case 'no-allow-matched':
      return `none of the ALLOW policies that apply matched: ${considered.join(', ')}`
    case 'custom-provider-unavailable':
      return `the provider that policy ${policy} asks is not there`
    case 'evaluation-failed':
      return 'the policies could not be evaluated'
    case 'denied-by-provider':
      return `provider ${detail} said no; policy ${policy} asks it by rule ${rule}`
    case 'provider-failed':
      return `the provider that policy ${policy} asks by rule ${rule} could not be asked: ${detail}`
    case 'token-refused':
      return detail
    case 'ambiguous-path':
      return 'a policy decides on paths and servers differ on what this one names'
    default:
      return reason satisfies never
  }
}

/** Envoy's detail of a denial (istio-semantics §1.13). */
export function denialDetail({
  policy,
  rule,
  reason,
  detail = '',
}: Pick<Denied, 'policy' | 'rule' | 'reason' | 'detail'>): string {
  if (reason === 'token-refused') {
    return `jwt_authn_access_denied{${detail.replaceAll(' ', '_')}}`
  }
  if (reason === 'ambiguous-path') return 'path_normalization_failed'
  if (reason === 'denied-by-provider') return 'ext_authz_denied'
  if (reason === 'provider-failed') return 'ext_authz_error'
  if (policy === null) return 'rbac_access_denied_matched_policy[none]'
  const [namespace = '', ...name] = policy.split('/')
  return `rbac_access_denied_matched_policy[ns[${namespace}]-policy[${name.join('/')}]-rule[${rule ?? 0}]]`
}

/** Text that stands in JSON as it is. */
const PLAIN = /^[ !#-[\]-~]*$/

function quoted(text: string): string {
  if (text === '') return 'null'
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text)
}
