/** What `redoubt cert inspect` shows people: a tree from the root down, and what is wrong. */
import type { ChainReport } from './chain.ts'
import type { CertificateReport, KeyReport } from './describe.ts'
import type { Finding } from './findings/finding.ts'
import type { RequestReport } from './request.ts'
import type { TokenReport } from './token.ts'
import { inWords, visible } from './words.ts'
import { LIFE_WORDS, type LogReport } from '../log/report.ts'

/** How to mark up text; the identity where colours are not wanted. */
export interface Style {
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
  readonly good: (text: string) => string
  readonly warn: (text: string) => string
  readonly bad: (text: string) => string
}

/** A fact about where the certificates came from, e.g. `negotiated` and `TLSv1.3`. */
export type Origin = readonly (readonly [name: string, value: string])[]

/** Everything that is known about what was inspected. */
export interface Inspection {
  readonly certificates: readonly CertificateReport[]
  readonly chain: ChainReport
  readonly requests: readonly RequestReport[]
  readonly tokens: readonly TokenReport[]
  readonly origin: Origin
}

/** Lines for a terminal. Whatever a certificate says is shown with its control characters escaped. */
export function renderInspection(inspection: Inspection, style: Style): readonly string[] {
  const { certificates, requests, tokens, origin } = inspection
  return [
    ...origin.map(([name, value]) => `${style.dim(name.padEnd(11))} ${visible(value)}`),
    ...verdictLines(inspection, style),
    ...fromRootDown(certificates).flatMap(({ certificate, depth }) =>
      certificateLines(certificate, depth, style),
    ),
    ...requests.flatMap((request) => requestLines(request, style)),
    ...tokens.flatMap((token) => tokenLines(token, style)),
    ...problemLines(inspection, style),
  ]
}

function verdictLines({ certificates, chain }: Inspection, style: Style): readonly string[] {
  if (certificates.length > 0) return [verdictLine(chain, style), '']
  // Nothing to verify, and still not what it should be.
  return chain.verified === false ? [style.bad(`✘ ${visible(chain.error ?? '')}`), ''] : []
}

function requestLines({ subject, san, key }: RequestReport, style: Style): readonly string[] {
  const names = san.map(({ type, value }) => `${type}:${visible(value)}`)
  return [
    `${style.bold(visible(subject) || names[0] || 'no name')} ${style.dim('request')}`,
    row(2, 'key', keyText(key), style),
    ...(names.length > 0 ? [row(2, 'asks for', names.join(', '), style)] : []),
    '',
  ]
}

function tokenLines(token: TokenReport, style: Style): readonly string[] {
  const { spiffeId, algorithm, keyId, audience, expiresAt, remainingSeconds } = token
  return [
    tokenVerdict(token, style),
    '',
    `${style.bold(visible(spiffeId ?? 'no SPIFFE ID'))} ${style.dim('JWT-SVID')}`,
    row(2, 'for', visible(audience.join(', ') || 'nobody'), style),
    row(
      2,
      'valid',
      expiresAt === null
        ? style.bad('without an end')
        : `until ${expiresAt}, ${leftText(remainingSeconds ?? 0, style)}`,
      style,
    ),
    row(2, 'key', visible(`${keyId ?? 'not named'}, signed ${algorithm ?? 'by nothing'}`), style),
    '',
  ]
}

function tokenVerdict({ verified, error }: TokenReport, style: Style): string {
  if (verified) return style.good('✔ verified: a key of its trust domain signed it')
  if (verified === null) return style.warn(`? not verified: ${error}; give them with --bundle FILE`)
  return style.bad(`✘ not verified: ${visible(error ?? '')}`)
}

/** A label and a value below a name. */
function row(indent: number, label: string, value: string, style: Style): string {
  return `${' '.repeat(indent)}${style.dim(label.padEnd(9))} ${value}`
}

function keyText({ type, curve, bits }: KeyReport): string {
  return [type, curve ?? bits].filter(Boolean).join(' ')
}

function verdictLine({ verified, trustAnchor, error }: ChainReport, style: Style): string {
  if (verified) return style.good(`✔ verified up to ${visible(trustAnchor ?? 'a root')}`)
  if (verified === null) return style.warn(`? not verified: ${error}; give one with --bundle FILE`)
  return style.bad(`✘ not verified: ${visible(error ?? '')}`)
}

interface Placed {
  readonly certificate: CertificateReport
  /** Issuers above it among those shown. */
  readonly depth: number
}

/** Each certificate below its issuer, as far as names tell. */
function fromRootDown(certificates: readonly CertificateReport[]): readonly Placed[] {
  const placed = new Map<CertificateReport, number>()
  const place = (certificate: CertificateReport, depth: number): void => {
    if (placed.has(certificate)) return
    placed.set(certificate, depth)
    for (const other of certificates) if (isIssuer(certificate, other)) place(other, depth + 1)
  }
  for (const top of certificates) {
    if (!certificates.some((issuer) => isIssuer(issuer, top))) place(top, 0)
  }
  for (const rest of certificates) place(rest, 0) // two that name each other as issuer
  return [...placed].map(([certificate, depth]) => ({ certificate, depth }))
}

function isIssuer(
  issuer: CertificateReport,
  { subject, issuer: name }: CertificateReport,
): boolean {
  return issuer.ca && issuer.subject === name && name !== '' && subject !== name
}

function certificateLines(
  certificate: CertificateReport,
  depth: number,
  style: Style,
): readonly string[] {
  const { spiffeId, subject, ca, serial, key, signature } = certificate
  const name = visible(spiffeId ?? (subject || certificate.san[0]?.value || 'no name'))
  const stem = depth === 0 ? '' : `${'   '.repeat(depth - 1)}└─ `
  const line = (label: string, value: string) => row(stem.length + 2, label, value, style)
  const role = ca ? (certificate.subject === certificate.issuer ? 'root' : 'issuer') : 'leaf'
  const others = certificate.san.filter(({ value }) => value !== spiffeId)
  return [
    `${stem}${style.bold(name)} ${style.dim(role)}`,
    line('serial', serial),
    line('valid', validity(certificate, style)),
    line(
      'key',
      `${[key.type, key.curve ?? key.bits].filter(Boolean).join(' ')}, signed ${signature}`,
    ),
    line('usage', [...certificate.usage, ...certificate.extendedUsage].join(', ') || 'none'),
    ...(others.length > 0
      ? [line('also', others.map(({ type, value }) => `${type}:${visible(value)}`).join(', '))]
      : []),
    line('sha256', certificate.fingerprints.sha256),
    ...(certificate.log ? [line('log', logText(certificate.log, style))] : []),
    '',
  ]
}

function logText(log: LogReport, style: Style): string {
  if (!log.verified) return style.bad(`✘ ${log.error}`)
  return `${style.good('✔ proved')} entry ${log.index} of ${log.size}, head of ${log.time}`
}

function validity(
  { notBefore, notAfter, remainingSeconds, life }: CertificateReport,
  style: Style,
): string {
  const why = life.why === null ? '' : style.dim(` (${LIFE_WORDS[life.why]})`)
  return `${notBefore} to ${notAfter}, ${leftText(remainingSeconds, style)}${why}`
}

function leftText(seconds: number, style: Style): string {
  return seconds >= 0
    ? style.good(`${inWords(seconds)} left`)
    : style.bad(`ran out ${inWords(-seconds)} ago`)
}

function problemLines(
  { certificates, requests, tokens }: Inspection,
  style: Style,
): readonly string[] {
  const judged = [
    ...certificates.map((one) => ({ whose: whoseText(one), findings: one.findings })),
    ...requests.map(({ findings }) => ({ whose: 'request', findings })),
    ...tokens.map(({ spiffeId, findings }) => ({ whose: spiffeId ?? 'token', findings })),
  ]
  // Of one alone nobody has to be told whose they are.
  const prefix = (whose: string) => (judged.length > 1 ? `${visible(whose)}: ` : '')
  const found = judged.flatMap(({ whose, findings }) =>
    findings.map((finding) => ({ finding, prefix: prefix(whose) })),
  )
  const worstFirst = found.toSorted(
    (a, b) => SEVERITIES.indexOf(a.finding.severity) - SEVERITIES.indexOf(b.finding.severity),
  )
  const lines = worstFirst.flatMap((one) => findingLines(one.prefix, one.finding, style))
  return lines.length > 0 ? lines : [style.good('No findings.')]
}

const SEVERITIES: readonly Finding['severity'][] = ['error', 'warning', 'info']

function whoseText({ spiffeId, subject, serial }: CertificateReport): string {
  return spiffeId ?? (subject || `serial ${serial}`)
}

function findingLines(
  prefix: string,
  { severity, rule, source, message, hint }: Finding,
  style: Style,
): readonly string[] {
  const paint = { error: style.bad, warning: style.warn, info: style.dim }[severity]
  return [
    `${paint(severity.padEnd(7))} ${prefix}${visible(message)} ${style.dim(`[${rule}, ${source}]`)}`,
    ...(hint === undefined ? [] : [`        ${style.dim(hint)}`]),
  ]
}
