/** What a gateway shows to strangers, and by what it judges them: credentials by name become PEM (istio-semantics §7.5). */
import type { CertificateRef, GatewayTls, PemSource } from '../model/gateway.ts'
import type { Intent, Secret, WorkloadInstance } from '../model/intent.ts'
import type { BoundServer } from './gateway-ports.ts'

interface Place {
  readonly intent: Intent
  readonly client: Pick<WorkloadInstance, 'namespace'>
}

/** Keys of a Secret by what they hold; the first that is there counts. */
const KEYS = {
  chain: ['tls.crt', 'cert'],
  key: ['tls.key', 'key'],
  clientCa: ['ca.crt', 'cacert'],
} as const

/** `undefined` in plaintext. A Secret that is not there is named, and its server then serves nobody. */
export function gatewayTls({ tls, gateway }: BoundServer, place: Place): GatewayTls | undefined {
  if (tls === undefined) return undefined
  const { certificates, clientCa, ...terms } = tls
  // A gateway is given only what Gateways of its own namespace name.
  const isOwn = gateway.namespace === place.client.namespace
  const find = (name: string): Secret | undefined =>
    isOwn
      ? place.intent.secrets.find((one) => one.namespace === gateway.namespace && one.name === name)
      : undefined
  const entry = (name: string, what: keyof typeof KEYS): PemSource => {
    const data = find(name)?.data ?? {}
    const key = KEYS[what].find((known) => Object.hasOwn(data, known))
    const pem = key === undefined ? '' : (data[key] ?? '')
    return pem === '' ? { kind: 'missing', secret: name } : { kind: 'inline', pem }
  }
  return {
    ...terms,
    certificates: certificates.map((one) =>
      one.kind === 'files'
        ? { chain: file(one.certificate), key: file(one.key) }
        : { chain: entry(one.name, 'chain'), key: entry(one.name, 'key') },
    ),
    ...(terms.mode === 'SIMPLE' ? {} : { clientCa: caOf(certificates, clientCa, entry) }),
  }
}

/** The file that is named; else of the first credential: a Secret of its own, `<name>-cacert`, or the same one. */
function caOf(
  certificates: readonly CertificateRef[],
  path: string | undefined,
  entry: (name: string, what: keyof typeof KEYS) => PemSource,
): PemSource {
  const [first] = certificates
  if (path !== undefined) return file(path)
  if (first?.kind !== 'secret') return file('')
  const apart = entry(`${first.name}-cacert`, 'clientCa')
  return apart.kind === 'missing' ? entry(first.name, 'clientCa') : apart
}

function file(path: string): PemSource {
  return { kind: 'file', path }
}
