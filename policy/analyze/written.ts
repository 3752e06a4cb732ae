/** What can be seen of objects as they are written, carried out or not. */
import { completeGateway } from '../dialects/istio/hosts.ts'
import { findKind } from '../dialects/kinds.ts'
import type { PathKey } from '../dialects/pointer.ts'
import type { Draft } from './finding.ts'
import { isRecord, type Scene, type Written } from './scene.ts'

/** IST0002: fields that Istio has replaced. */
export function findDeprecated(scene: Scene): readonly Draft[] {
  const routes = scene.ofKind('VirtualService').flatMap((written) =>
    listOf(specOf(written)['http']).flatMap((route, at): readonly Draft[] => {
      const path = ['spec', 'http', at]
      const delay = recordAt(route, 'fault', 'delay')
      const cors = recordAt(route, 'corsPolicy')
      return [
        ...deprecated(written, delay, 'percent', 'percentage', [...path, 'fault', 'delay']),
        ...deprecated(written, cors, 'allowOrigin', 'allowOrigins', [...path, 'corsPolicy']),
      ]
    }),
  )
  const keys = scene.ofKind('RequestAuthentication').flatMap((written) =>
    listOf(specOf(written)['jwtRules']).flatMap((rule, at) => {
      return deprecated(written, rule, 'jwks_uri', 'jwksUri', ['spec', 'jwtRules', at])
    }),
  )
  return [...routes, ...keys]
}

function deprecated(
  subject: Written,
  object: Fields,
  field: string,
  instead: string,
  path: readonly PathKey[],
): readonly Draft[] {
  if (object[field] === undefined) return []
  const message = `the field ${field} is deprecated`
  const at = [...path, field]
  // Of the others the new field has another shape.
  const fix =
    field === 'jwks_uri' ? ({ kind: 'rename', path: at, name: instead } as const) : undefined
  const found = { code: 'IST0002', subject, path: at, message, hint: `write ${instead}` } as const
  return [{ ...found, ...(fix ? { fix } : {}) }]
}

/** RDB0027: versions of one kind have one schema here, as they have with Istio. */
export function findOldVersions({ all }: Scene): readonly Draft[] {
  return all.flatMap((written): readonly Draft[] => {
    const { apiVersion } = written.value
    if (typeof apiVersion !== 'string') return []
    const found = findKind(apiVersion, written.kind)
    const [newest = ''] = found.kind === 'found' ? found.definition.versions : []
    const [group, version] = apiVersion.split('/')
    if (newest === '' || version === undefined || version === newest) return []
    const value = `${group}/${newest}`
    const message = `${apiVersion} is an old version of ${value}, with the same fields`
    const path = ['apiVersion']
    const fix = { kind: 'set', path, value } as const
    return [{ code: 'RDB0027', subject: written, path, message, hint: `write ${value}`, fix }]
  })
}

/** IST0128, IST0129: TLS to servers whose certificates are not verified against anything. */
export function findUnverifiedServers(scene: Scene): readonly Draft[] {
  return scene.ofKind('DestinationRule').flatMap((written): readonly Draft[] => {
    const policy = recordAt(specOf(written), 'trafficPolicy')
    const ports = listOf(policy['portLevelSettings'])
    const path = ['spec', 'trafficPolicy']
    return [
      ...unverified(written, 'IST0128', policy, path),
      ...ports.flatMap((port, at) => {
        return unverified(written, 'IST0129', port, [...path, 'portLevelSettings', at])
      }),
    ]
  })
}

function unverified(
  subject: Written,
  code: 'IST0128' | 'IST0129',
  policy: Fields,
  path: readonly PathKey[],
): readonly Draft[] {
  const tls = recordAt(policy, 'tls')
  const { mode, caCertificates, credentialName } = tls
  if (mode !== 'SIMPLE' && mode !== 'MUTUAL') return []
  if (caCertificates || credentialName) return []
  const message = `with ${mode} and no caCertificates the server's certificate is not verified`
  const hint = 'name the file of its CA in caCertificates'
  return [{ code, subject, path: [...path, 'tls', 'mode'], message, hint }]
}

/** IST0134: a TCP connection is told from others by its address alone. */
export function findUnaddressedEntries({ intent }: Scene): readonly Draft[] {
  return intent.serviceEntries.flatMap(({ namespace, name, addresses, ports }) =>
    addresses.length > 0
      ? []
      : ports.flatMap(({ protocol, port }, at): readonly Draft[] => {
          if (protocol !== 'tcp') return []
          const subject = { kind: 'ServiceEntry', namespace, name }
          const message = `port ${port} is TCP and the entry has no addresses: connections to it are told from no others on that port`
          const hint = 'give it addresses, or declare TLS, HTTP or HTTPS if that is what it speaks'
          return [{ code: 'IST0134', subject, path: ['spec', 'ports', at], message, hint }]
        }),
  )
}

/** IST0171: a controller has written that something is not so. */
export function findNegativeConditions({ all }: Scene): readonly Draft[] {
  return all.flatMap((written) =>
    listOf(recordAt(written.value, 'status')['conditions']).flatMap(
      (condition, at): readonly Draft[] => {
        if (condition['status'] !== 'False') return []
        const { type, reason, message: why } = condition
        const said = [reason, why].filter((word) => typeof word === 'string' && word !== '')
        const told = said.length > 0 ? `: ${said.join(', ')}` : ''
        const message = `its condition ${type} is False${told}`
        const path = ['status', 'conditions', at, 'status']
        return [{ code: 'IST0171', subject: written, path, message, hint: 'repair what it says' }]
      },
    ),
  )
}

/** IST0101: gateways that routes are bound to. */
export function findUnknownGateways(scene: Scene): readonly Draft[] {
  const known = new Set(
    scene.ofKind('Gateway').map(({ namespace, name }) => `${namespace}/${name}`),
  )
  return scene.ofKind('VirtualService').flatMap((written) => {
    const names: readonly unknown[] = Array.isArray(specOf(written)['gateways'])
      ? (specOf(written)['gateways'] as readonly unknown[])
      : []
    return names.flatMap((name, at): readonly Draft[] => {
      if (typeof name !== 'string' || name === 'mesh') return []
      const full = completeGateway(name, written.namespace)
      if (known.has(full)) return []
      const message = `the gateway ${full} does not exist`
      const hint = 'define it, or write mesh for the sidecars'
      return [{ code: 'IST0101', subject: written, path: ['spec', 'gateways', at], message, hint }]
    })
  })
}

type Fields = Readonly<Record<string, unknown>>

function specOf({ value }: Written): Fields {
  return recordAt(value, 'spec')
}

function recordAt(value: unknown, ...names: readonly string[]): Fields {
  const found = names.reduce<unknown>((at, name) => (isRecord(at) ? at[name] : undefined), value)
  return isRecord(found) ? found : {}
}

function listOf(value: unknown): readonly Fields[] {
  return Array.isArray(value) ? value.map((one) => (isRecord(one) ? one : {})) : []
}
