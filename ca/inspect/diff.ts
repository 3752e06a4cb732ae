import type { CertificateReport } from './describe.ts'
import { inWords } from './words.ts'

/** What one certificate says otherwise than another. */
export interface Change {
  readonly field: string
  readonly before: string
  readonly after: string
  /**
   * `rotation`: what every renewal changes. `authority`: somebody else has signed it. `meaning`:
   * who it is, or what it may be used for, is no longer the same.
   */
  readonly kind: 'rotation' | 'authority' | 'meaning'
}

interface Field {
  readonly field: string
  readonly kind: Change['kind']
  readonly of: (certificate: CertificateReport) => string
}

const list = (values: readonly string[]): string => values.join(', ') || 'none'

const FIELDS: readonly Field[] = [
  { field: 'identity', kind: 'meaning', of: ({ spiffeId }) => spiffeId ?? 'none' },
  { field: 'subject', kind: 'meaning', of: ({ subject }) => subject || 'none' },
  {
    field: 'names',
    kind: 'meaning',
    of: ({ san }) => list(san.map(({ type, value }) => `${type}:${value}`)),
  },
  { field: 'authority', kind: 'meaning', of: ({ ca }) => (ca ? 'yes' : 'no') },
  { field: 'usage', kind: 'meaning', of: ({ usage }) => list(usage) },
  { field: 'extended usage', kind: 'meaning', of: ({ extendedUsage }) => list(extendedUsage) },
  {
    field: 'kind of key',
    kind: 'meaning',
    of: ({ key: { type, curve, bits } }) => [type, curve ?? bits].filter(Boolean).join(' '),
  },
  { field: 'life', kind: 'meaning', of: ({ notBefore, notAfter }) => lifeOf(notBefore, notAfter) },
  { field: 'signed with', kind: 'authority', of: ({ signature }) => signature },
  { field: 'issuer', kind: 'authority', of: ({ issuer }) => issuer || 'none' },
  { field: 'issuer key', kind: 'authority', of: ({ issuerKeyId }) => issuerKeyId ?? 'none' },
  { field: 'serial', kind: 'rotation', of: ({ serial }) => serial },
  { field: 'key', kind: 'rotation', of: ({ fingerprints: { publicKey } }) => publicKey },
  { field: 'from', kind: 'rotation', of: ({ notBefore }) => notBefore },
  { field: 'until', kind: 'rotation', of: ({ notAfter }) => notAfter },
]

/** What changed between two certificates, the weightiest first; nothing for one and the same. */
export function diffCertificates(
  before: CertificateReport,
  after: CertificateReport,
): readonly Change[] {
  return FIELDS.flatMap(({ field, kind, of }) => {
    const [was, is] = [of(before), of(after)]
    return was === is ? [] : [{ field, kind, before: was, after: is }]
  })
}

/** To the minute: two leaves of one profile may differ by a second. */
function lifeOf(notBefore: string, notAfter: string): string {
  const life = Temporal.Instant.from(notAfter).since(notBefore)
  return inWords(Math.round(life.total('minutes')) * 60)
}
