/** ServerTLSSettings of Gateways and Sidecars (istio-semantics §7.1, §7.6). */
import { z } from 'zod'

import type { CertificateRef, ServerTlsIntent, TlsVersion } from '../../model/gateway.ts'
import type { Warning } from '../kind.ts'
import type { PathKey } from '../pointer.ts'
import { type Finding, fields, type Report } from '../schema.ts'
import { strings } from './values.ts'

const MODES = [
  'PASSTHROUGH',
  'SIMPLE',
  'MUTUAL',
  'AUTO_PASSTHROUGH',
  'ISTIO_MUTUAL',
  'OPTIONAL_MUTUAL',
] as const
const VERSIONS = ['TLS_AUTO', 'TLSV1_0', 'TLSV1_1', 'TLSV1_2', 'TLSV1_3'] as const
const CIPHERS =
  /^(|ALL|[^A-Za-z0-9].*|ECDHE-(ECDSA|RSA)-(AES(128-GCM-SHA256|256-GCM-SHA384)|CHACHA20-POLY1305|AES(128|256)-SHA)|AES128-GCM-SHA256|AES256-GCM-SHA384|AES(128|256)-SHA|DES-CBC3-SHA)$/

interface Certificate {
  readonly serverCertificate?: string | undefined
  readonly privateKey?: string | undefined
  readonly caCertificates?: string | undefined
}

/** What {@link serverTlsSchema} accepts. */
export interface ServerTls extends Certificate {
  readonly httpsRedirect?: boolean | undefined
  readonly mode?: (typeof MODES)[number] | undefined
  readonly caCrl?: string | undefined
  readonly credentialName?: string | undefined
  readonly credentialNames?: readonly string[] | undefined
  readonly tlsCertificates?: readonly Certificate[] | undefined
  readonly caCertCredentialName?: string | undefined
  readonly subjectAltNames?: readonly string[] | undefined
  readonly verifyCertificateSpki?: readonly string[] | undefined
  readonly verifyCertificateHash?: readonly string[] | undefined
  readonly insecureSkipVerify?: boolean | undefined
  readonly minProtocolVersion?: (typeof VERSIONS)[number] | undefined
  readonly maxProtocolVersion?: (typeof VERSIONS)[number] | undefined
  readonly cipherSuites?: readonly string[] | undefined
}

const files = {
  serverCertificate: z.string().optional(),
  privateKey: z.string().optional(),
  caCertificates: z.string().optional(),
}

export const serverTlsSchema: z.ZodType<ServerTls> = fields(
  {
    ...files,
    httpsRedirect: z.boolean().optional(),
    mode: z.enum(MODES).optional(),
    caCrl: z.string().optional(),
    credentialName: z.string().optional(),
    credentialNames: strings.min(1).max(2).optional(),
    caCertCredentialName: z.string().optional(),
    tlsCertificates: z.array(fields(files)).min(1).max(2).optional(),
    subjectAltNames: strings.optional(),
    verifyCertificateSpki: strings.optional(),
    verifyCertificateHash: strings.optional(),
    minProtocolVersion: z.enum(VERSIONS).optional(),
    maxProtocolVersion: z.enum(VERSIONS).optional(),
    cipherSuites: strings.optional(),
    insecureSkipVerify: z.boolean().optional(),
  },
  { check: checkTls },
)

const CERTIFICATE_FIELDS = [
  'serverCertificate',
  'privateKey',
  'caCertificates',
  'tlsCertificates',
  'credentialName',
  'credentialNames',
] as const

function checkTls(value: ServerTls, report: Report): void {
  const { mode = 'PASSTHROUGH', tlsCertificates, credentialName, credentialNames } = value
  // What the API server counts is whether a field is there.
  const kinds = [tlsCertificates, credentialName, credentialNames]
  if (credentialNames && kinds.filter((one) => one !== undefined).length > 1)
    report(['credentialNames'], 'it cannot stand beside credentialName or tlsCertificates')
  if (mode === 'ISTIO_MUTUAL') {
    for (const field of CERTIFICATE_FIELDS.filter((one) => value[one]?.length))
      report([field], 'ISTIO_MUTUAL uses the certificates of the mesh: expected none')
    return
  }
  const pair = value.serverCertificate && value.privateKey
  const sources = [pair, credentialName, credentialNames, tlsCertificates].filter(Boolean)
  if (sources.length > 1) report([], 'more than one source of certificates is set: expected one')
  checkFiles(value, mode, report)
}

function checkFiles(value: ServerTls, mode: string, report: Report): void {
  const { credentialName, credentialNames, tlsCertificates, caCrl } = value
  const terminates = ['SIMPLE', 'MUTUAL', 'OPTIONAL_MUTUAL'].includes(mode)
  if (terminates && (credentialName || credentialNames)) return
  if (terminates) {
    if (mode !== 'SIMPLE' && !value.caCertificates)
      report(['caCertificates'], `it is missing: ${mode} verifies clients with it`)
    const given = tlsCertificates ?? [value]
    given.forEach((one, index) => {
      const path = tlsCertificates ? ['tlsCertificates', index] : []
      if (!one.serverCertificate) report(path, `${mode} needs serverCertificate or credentialName`)
      if (!one.privateKey) report(path, `${mode} needs privateKey or credentialName`)
    })
  }
  if (caCrl && credentialName) report(['caCrl'], 'it cannot stand beside credentialName')
  if (caCrl && mode === 'SIMPLE') report(['caCrl'], 'with SIMPLE no client is verified')
}

/** What is legal in `tls`, which stands at `path`, and probably not meant. */
export function warnServerTls(
  tls: ServerTls | undefined,
  path: readonly PathKey[],
): readonly Warning[] {
  if (!tls) return []
  const { mode = 'PASSTHROUGH', minProtocolVersion = '', cipherSuites = [] } = tls
  const old = ['TLSV1_0', 'TLSV1_1'].includes(minProtocolVersion) && cipherSuites.length === 0
  const unused = [...CERTIFICATE_FIELDS, 'caCrl' as const].filter((field) => tls[field]?.length)
  const at = (field: PathKey, message: string): Warning => ({ path: [...path, field], message })
  return [
    ...(old ? [at('minProtocolVersion', 'no cipher suite is left for it: name some')] : []),
    ...cipherSuites.flatMap((suite, index) => {
      const again = cipherSuites.indexOf(suite) < index ? 'is there twice' : undefined
      const why = CIPHERS.test(suite) ? again : 'is not known, and left out'
      return why ? [at('cipherSuites', `${JSON.stringify(suite)} ${why}`)] : []
    }),
    ...(/PASSTHROUGH/.test(mode)
      ? unused.map((field) => at(field, `with ${mode} no certificate is used`))
      : []),
  ]
}

const TERMINATING = ['SIMPLE', 'MUTUAL', 'OPTIONAL_MUTUAL'] as const

/** What gateways of ours do not do, although Istio's do. Paths are from `tls`. */
export function tlsNotCarried(tls: ServerTls): readonly Finding[] {
  const { mode = 'PASSTHROUGH' } = tls
  const finding = (field: string, message: string): Finding => ({ path: [field], message })
  if (!isTerminating(mode)) {
    const what = `${mode} is not carried out: TLS ends at a gateway with SIMPLE, MUTUAL or OPTIONAL_MUTUAL`
    return [finding('mode', what)]
  }
  const given = [...FIELDS_NOT_CARRIED, ...(mode === 'SIMPLE' ? [] : CLIENT_FIELDS)]
    .filter((field) => (Array.isArray(tls[field]) ? tls[field].length > 0 : tls[field]))
    .map((field) => finding(field, 'it is valid, and not carried out yet: no mesh starts with it'))
  const old = (['minProtocolVersion', 'maxProtocolVersion'] as const)
    .filter((field) => /1_[01]$/.test(tls[field] ?? ''))
    .map((field) => finding(field, 'gateways speak TLS 1.2 and 1.3'))
  const foreign = credentialsOf(tls)
    .filter((name) => name.includes('://') && !name.startsWith(KUBERNETES))
    .map((name) => finding('credentialName', `${JSON.stringify(name)} is no Secret by its name`))
  return [...given, ...old, ...foreign]
}

function isTerminating(mode: string): mode is ServerTlsIntent['mode'] {
  return TERMINATING.some((known) => known === mode)
}

const FIELDS_NOT_CARRIED = ['caCertCredentialName'] as const
const CLIENT_FIELDS = [
  'caCrl',
  'verifyCertificateSpki',
  'verifyCertificateHash',
  'insecureSkipVerify',
] as const
const KUBERNETES = 'kubernetes://'

function credentialsOf({ credentialName, credentialNames = [] }: ServerTls): readonly string[] {
  return credentialName ? [credentialName] : credentialNames
}

/** Settings of which {@link tlsNotCarried} finds nothing. */
export function readServerTls(tls: ServerTls): ServerTlsIntent {
  const { mode = 'PASSTHROUGH', subjectAltNames = [], cipherSuites = [], caCertificates } = tls
  const { tlsCertificates = [tls] } = tls
  const secrets = credentialsOf(tls).map(
    (name): CertificateRef => ({ kind: 'secret', name: name.replace(KUBERNETES, '') }),
  )
  const files = tlsCertificates.map(
    ({ serverCertificate: certificate = '', privateKey: key = '' }): CertificateRef => ({
      kind: 'files',
      certificate,
      key,
    }),
  )
  return {
    mode: isTerminating(mode) ? mode : 'MUTUAL',
    subjectAltNames,
    minVersion: versionOf(tls.minProtocolVersion, 'TLSv1.2'),
    maxVersion: versionOf(tls.maxProtocolVersion, 'TLSv1.3'),
    cipherSuites: cipherSuites.filter((suite) => suite !== '' && CIPHERS.test(suite)),
    certificates: secrets.length > 0 ? secrets : files,
    ...(caCertificates ? { clientCa: caCertificates } : {}),
  }
}

function versionOf(written: string | undefined, otherwise: TlsVersion): TlsVersion {
  if (written === 'TLSV1_2') return 'TLSv1.2'
  return written === 'TLSV1_3' ? 'TLSv1.3' : otherwise
}
