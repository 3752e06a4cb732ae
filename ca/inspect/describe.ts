import { AUTHORITY_RULES } from './findings/authority.ts'
import { COMMON_RULES } from './findings/common.ts'
import { type Finding, judge, readId, type Rule } from './findings/finding.ts'
import { LEAF_RULES } from './findings/leaf.ts'
import { type CertificateFacts, readFacts } from './facts.ts'
import type { AlternativeName } from './alternative-names.ts'

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
  readonly key: { readonly type: string; readonly bits?: number; readonly curve?: string }
  readonly signature: string
  readonly san: readonly AlternativeName[]
  readonly usage: readonly string[]
  readonly extendedUsage: readonly string[]
  readonly ca: boolean
  readonly fingerprints: { readonly sha256: string }
  readonly findings: readonly Finding[]
}

/**
 * Describes one certificate and judges it as it is at `now`, by itself; its chain is judged by
 * `judgeChain`.
 *
 * @throws {CaError} `CA_DER_INVALID` if `der` is no X.509 certificate
 */
export function describeCertificate(der: Uint8Array, now: Temporal.Instant): CertificateReport {
  const facts = readFacts(der)
  const uris = facts.san.filter(({ type }) => type === 'uri').map(({ value }) => value)
  return {
    spiffeId: idOf(uris),
    subject: facts.subject,
    issuer: facts.issuer,
    serial: facts.serial,
    notBefore: facts.notBefore.toString(),
    notAfter: facts.notAfter.toString(),
    remainingSeconds: Math.floor(facts.notAfter.since(now).total('seconds')),
    key: keyReport(facts),
    signature: facts.signature,
    san: facts.san,
    usage: facts.usage ?? [],
    extendedUsage: facts.extendedUsage ?? [],
    ca: facts.ca,
    fingerprints: { sha256: facts.sha256 },
    findings: judge(rulesFor(facts), { facts, now, uris }),
  }
}

/** Every rule there is, for documentation and for the test that breaks each. */
export const RULES: readonly Rule[] = [...COMMON_RULES, ...LEAF_RULES, ...AUTHORITY_RULES]

function rulesFor({ ca }: CertificateFacts): readonly Rule[] {
  return [...COMMON_RULES, ...(ca ? AUTHORITY_RULES : LEAF_RULES)]
}

function idOf(uris: readonly string[]): string | null {
  const id = uris.length === 1 ? readId(uris[0] ?? '') : undefined
  return typeof id === 'string' ? id : null
}

function keyReport({ key: { type, bits, curve } }: CertificateFacts): CertificateReport['key'] {
  return { type, ...(bits !== undefined && { bits }), ...(curve !== undefined && { curve }) }
}
