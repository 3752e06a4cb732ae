import { AUTHORITY_RULES } from './findings/authority.ts'
import { type Finding, judge, readId, type Rule } from './findings/finding.ts'
import { FORM_RULES } from './findings/form.ts'
import { KEY_RULES } from './findings/keys.ts'
import { LEAF_RULES } from './findings/leaf.ts'
import { USAGE_RULES } from './findings/usage.ts'
import { VALIDITY_RULES } from './findings/validity.ts'
import { type CertificateFacts, readFacts } from './facts.ts'
import type { AlternativeName } from './alternative-names.ts'
import type { LifeReason } from '../log/entry.ts'
import type { LogReport } from '../log/report.ts'

/** `bits` for RSA, `curve` for elliptic curves, neither where the type says it all. */
export interface KeyReport {
  readonly type: string
  readonly bits?: number
  readonly curve?: string
}

/** From notBefore to notAfter, and why. */
export interface LifeReport {
  readonly seconds: number
  /** Whether its end is its issuer's; `null` where that is not known. */
  readonly cutByIssuer: boolean | null
  /**
   * `default` of the CA, as `asked` for, cut to the CA's `maximum`, or to the end of its `issuer`; `null`
   * where neither the log nor the issuer tells.
   */
  readonly why: LifeReason | null
}

/** A certificate as `redoubt cert inspect --output json` prints it; the names are a contract. */
export interface CertificateReport {
  /** `null` when there is not exactly one valid one. */
  readonly spiffeId: string | null
  /** RFC 4514 text; empty when there is none. */
  readonly subject: string
  readonly issuer: string
  /** Lower-case hex, as `ca revoke` takes it. */
  readonly serial: string
  /** RFC 3339, UTC. */
  readonly notBefore: string
  readonly notAfter: string
  /** Negative once it has run out. */
  readonly remainingSeconds: number
  readonly life: LifeReport
  readonly key: KeyReport
  readonly signature: string
  readonly san: readonly AlternativeName[]
  readonly usage: readonly string[]
  readonly extendedUsage: readonly string[]
  readonly ca: boolean
  /** Lower-case hex: its subject key identifier, as `ca taint` takes it, and its issuer's. */
  readonly keyId: string | null
  readonly issuerKeyId: string | null
  /** Lower-case hex, of the whole and of SubjectPublicKeyInfo. */
  readonly fingerprints: { readonly sha256: string; readonly publicKey: string }
  /** What the CA's log says of it; left out where no log here has to know it. */
  readonly log?: LogReport
  readonly findings: readonly Finding[]
}

/** Every rule there is. Each has a clause of its own, and a certificate in the tests that breaks it alone. */
export const RULES: readonly Rule[] = [
  ...VALIDITY_RULES,
  ...KEY_RULES,
  ...FORM_RULES,
  ...USAGE_RULES,
  ...LEAF_RULES,
  ...AUTHORITY_RULES,
]

/**
 * Describes one certificate and judges it as it is at `now`, by itself; its chain is judged by
 * `judgeChain`.
 *
 * @throws {CaError} `CA_DER_INVALID` if `der` is no X.509 certificate
 */
export function describeCertificate(der: Uint8Array, now: Temporal.Instant): CertificateReport {
  const facts = readFacts(der)
  const uris = urisOf(facts)
  return {
    spiffeId: idOf(uris),
    subject: facts.subject,
    issuer: facts.issuer,
    serial: facts.serial,
    notBefore: facts.notBefore.toString(),
    notAfter: facts.notAfter.toString(),
    remainingSeconds: Math.floor(facts.notAfter.since(now).total('seconds')),
    life: {
      seconds: Math.floor(facts.notAfter.since(facts.notBefore).total('seconds')),
      cutByIssuer: null,
      why: null,
    },
    key: keyReport(facts),
    signature: facts.signature,
    san: facts.san,
    usage: facts.usage ?? [],
    extendedUsage: facts.extendedUsage ?? [],
    ca: facts.ca,
    keyId: facts.subjectKeyId ?? null,
    issuerKeyId: facts.authorityKeyId ?? null,
    fingerprints: { sha256: facts.sha256, publicKey: facts.publicKeySha256 },
    findings: judge(RULES, { facts, now, uris }),
  }
}

/** The same reports, each knowing whether its issuer, if that is among them, ends with it. */
export function withIssuers(reports: readonly CertificateReport[]): readonly CertificateReport[] {
  return reports.map((report) => {
    const issuer = reports.find((one) => one !== report && isIssuerOf(one, report))
    if (!issuer) return report
    const cutByIssuer = issuer.notAfter === report.notAfter
    const why = cutByIssuer ? 'issuer' : report.life.why
    return { ...report, life: { ...report.life, cutByIssuer, why } }
  })
}

/** The same report with what a log says of it. What is not proved is shown, and believed in nothing. */
export function withLog(report: CertificateReport, log: LogReport): CertificateReport {
  const why = log.verified ? (log.life ?? report.life.why) : report.life.why
  return { ...report, life: { ...report.life, why }, log }
}

function isIssuerOf({ ca, subject, keyId }: CertificateReport, below: CertificateReport): boolean {
  const isNamed = subject === below.issuer && subject !== below.subject
  return ca && isNamed && (below.issuerKeyId === null || below.issuerKeyId === keyId)
}

/** All URI names. */
export function urisOf({ san }: CertificateFacts): readonly string[] {
  return san.filter(({ type }) => type === 'uri').map(({ value }) => value)
}

function idOf(uris: readonly string[]): string | null {
  const id = uris.length === 1 ? readId(uris[0] ?? '') : undefined
  return typeof id === 'string' ? id : null
}

function keyReport({ key: { type, bits, curve } }: CertificateFacts): KeyReport {
  return { type, ...(bits !== undefined && { bits }), ...(curve !== undefined && { curve }) }
}
