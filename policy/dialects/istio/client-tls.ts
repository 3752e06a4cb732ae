/** ClientTLSSettings (istio-semantics §6.8, §0.8.7). */
import { z } from 'zod'

import type { PathKey } from '../pointer.ts'
import { notYet } from '../carried-out.ts'
import { fields, type Report } from '../schema.ts'
import { orNull, strings } from './values.ts'

const CONFIG_MAP = 'configmap://'

/** What {@link clientTlsSchema} accepts. */
export interface ClientTls {
  readonly mode?: 'DISABLE' | 'SIMPLE' | 'MUTUAL' | 'ISTIO_MUTUAL' | undefined
  readonly clientCertificate?: string | undefined
  readonly privateKey?: string | undefined
  readonly caCertificates?: string | undefined
  readonly credentialName?: string | undefined
  readonly subjectAltNames?: readonly string[] | undefined
  readonly insecureSkipVerify?: boolean | null | undefined
  readonly caCrl?: string | undefined
}

export const clientTlsSchema: z.ZodType<ClientTls> = fields(
  {
    mode: notYet(z.enum(['DISABLE', 'SIMPLE', 'MUTUAL', 'ISTIO_MUTUAL']), {
      when: (mode) => mode === 'SIMPLE' || mode === 'MUTUAL',
      hint: 'carried out: ISTIO_MUTUAL, DISABLE',
    }),
    clientCertificate: notYet(z.string()),
    privateKey: notYet(z.string()),
    caCertificates: notYet(z.string()),
    credentialName: notYet(z.string()),
    subjectAltNames: notYet(strings),
    sni: notYet(z.string()),
    insecureSkipVerify: notYet(orNull(z.boolean())),
    caCrl: notYet(z.string()),
  },
  { check: checkTls },
)

function checkTls(value: ClientTls, report: Report): void {
  const { mode, clientCertificate, privateKey, caCertificates, credentialName, caCrl } = value
  const originates = mode === 'SIMPLE' || mode === 'MUTUAL'
  if (value.insecureSkipVerify && originates) {
    const named = value.subjectAltNames !== undefined && value.subjectAltNames.length > 0
    if (caCertificates || named || (mode === 'SIMPLE' && credentialName))
      report(['insecureSkipVerify'], 'it cannot stand beside what a server is verified with')
  }
  if (originates && credentialName) {
    if (clientCertificate || caCertificates || privateKey || caCrl)
      report(['credentialName'], 'it cannot stand beside certificate files')
  } else if (mode === 'MUTUAL') {
    if (!clientCertificate) report([], 'MUTUAL needs clientCertificate, or a credentialName')
    if (!privateKey) report([], 'MUTUAL needs privateKey, or a credentialName')
  }
}

/** A ConfigMap is of the rule's own namespace. */
export function checkCredential(
  tls: ClientTls | undefined,
  namespace: string,
  path: readonly PathKey[],
  report: Report,
): void {
  const name = tls?.credentialName
  if (!name?.startsWith(CONFIG_MAP)) return
  const [owner = '', object = ''] = name.slice(CONFIG_MAP.length).split('/')
  if (owner !== namespace || object === '')
    report([...path, 'credentialName'], `expected ${CONFIG_MAP}${namespace}/NAME`)
}
