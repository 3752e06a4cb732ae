/** Names that nothing in the mesh has: identities, namespaces, hosts, ports, claims nobody verifies. */
import type { PathKey } from '../dialects/pointer.ts'
import { suggest } from '../dialects/suggest.ts'
import { gatewayPortsOf } from '../assemble/gateway-ports.ts'
import { selects } from '../assemble/select.ts'
import { hostsOverlap } from '../dialects/istio/hosts.ts'
import type { AuthorizationIntent, Intent } from '../model/index.ts'
import type { Draft } from './finding.ts'
import { namesOf, type Scene, sidecarPolicies, subjectOf } from './scene.ts'
import { selectorIn } from './unselected.ts'

/** One value that a policy wrote, and where. */
export interface WrittenValue {
  readonly policy: AuthorizationIntent
  /** Field without `not`, or `when` key. */
  readonly field: string
  readonly value: string
  readonly path: readonly PathKey[]
}

/** Every value in the lists of a policy's rules. */
export function writtenValues(policy: AuthorizationIntent): readonly WrittenValue[] {
  const lists = (
    object: object,
    path: readonly PathKey[],
    nameOf: (field: string) => string,
  ): readonly WrittenValue[] =>
    Object.entries(object).flatMap(([field, values]: [string, unknown]) =>
      Array.isArray(values)
        ? values.map((value, at) => ({
            policy,
            field: nameOf(field),
            value: String(value),
            path: [...path, field, at],
          }))
        : [],
    )
  const plain = (field: string): string =>
    /^not[A-Z]/.test(field) ? `${field.charAt(3).toLowerCase()}${field.slice(4)}` : field
  return policy.policy.rules.flatMap((rule, index) => {
    const path = ['spec', 'rules', index]
    return [
      ...(rule.from ?? []).flatMap((one, at) => lists(one, [...path, 'from', at, 'source'], plain)),
      ...(rule.to ?? []).flatMap((one, at) => lists(one, [...path, 'to', at, 'operation'], plain)),
      ...(rule.when ?? []).flatMap((one, at) => lists(one, [...path, 'when', at], () => one.key)),
    ]
  })
}

/** RDB0014 */
export function findUnknownIdentities(scene: Scene): readonly Draft[] {
  if (!scene.hasInventory) return []
  const { mesh, workloads, serviceEntries } = scene.intent
  const domains: readonly string[] = [
    mesh.trustDomain,
    ...mesh.trustDomainAliases,
    'cluster.local',
    '*',
  ]
  const accounts = new Set([
    ...workloads.map(({ namespace, serviceAccount }) => `${namespace}/${serviceAccount}`),
    ...serviceEntries.flatMap(({ namespace, endpoints }) =>
      endpoints.map(({ serviceAccount }) => `${namespace}/${serviceAccount}`),
    ),
  ])
  const unknown = (one: WrittenValue, account: string, write: (known: string) => string): Draft => {
    const meant = suggest(account, [...accounts])
    const hint = meant
      ? `did you mean ${JSON.stringify(write(meant))}?`
      : 'no workload runs under this account'
    const message = `${JSON.stringify(one.value)} is nobody: no workload has the service account ${account}`
    return draft('RDB0014', one, message, hint)
  }
  return all(scene).flatMap((one): readonly Draft[] => {
    const { field, value, policy } = one
    if (field === 'serviceAccounts' || field === 'source.serviceAccount') {
      const account = value.includes('/') ? value : `${policy.namespace}/${value}`
      return accounts.has(account) ? [] : [unknown(one, account, (known) => known)]
    }
    if (field !== 'principals' && field !== 'source.principal') return []
    const [, domain = '', namespace = '', name = ''] =
      /^([^/]+)\/ns\/([^/*]+)\/sa\/([^/*]+)$/.exec(value) ?? []
    if (name === '') return []
    if (!domains.includes(domain) && !domain.includes('*')) {
      const hint = `the mesh's own is ${mesh.trustDomain}; callers of others are refused at the handshake unless it is in trustDomainAliases`
      return [draft('RDB0014', one, `nobody of trust domain ${domain} can call`, hint)]
    }
    const account = `${namespace}/${name}`
    if (accounts.has(account)) return []
    return [unknown(one, account, (known) => `${domain}/ns/${known.replace('/', '/sa/')}`)]
  })
}

/** IST0101 for policies: namespaces that there are not. */
export function findUnknownNamespaces(scene: Scene): readonly Draft[] {
  if (!scene.hasInventory) return []
  return all(scene).flatMap((one): readonly Draft[] => {
    const { field, value } = one
    if (field !== 'namespaces' && field !== 'source.namespace') return []
    if (value.includes('*') || scene.namespaces.has(value)) return []
    const meant = suggest(value, [...scene.namespaces])
    const hint = meant ? `did you mean ${JSON.stringify(meant)}?` : 'create it, or remove the value'
    return [draft('IST0101', one, `the namespace ${JSON.stringify(value)} does not exist`, hint)]
  })
}

/** RDB0015 */
export function findUnknownHosts(scene: Scene): readonly Draft[] {
  const { intent } = scene
  if (intent.services.length + intent.serviceEntries.length === 0) return []
  const known = knownHosts(intent)
  return all(scene).flatMap((one): readonly Draft[] => {
    if (one.field !== 'hosts') return []
    const host = one.value.toLowerCase().replace(/:(\d+|\*)$/, '')
    if (host.endsWith('*') || known.some((other) => hostsOverlap(host, other))) return []
    const meant = suggest(host, known)
    const hint = meant
      ? `did you mean ${JSON.stringify(meant)}?`
      : 'Host is compared as the caller sends it; names are those of Services, ServiceEntries and VirtualServices'
    return [
      draft('RDB0015', one, `nothing in the mesh is called ${JSON.stringify(one.value)}`, hint),
    ]
  })
}

function knownHosts({ services, serviceEntries, virtualServices }: Intent): readonly string[] {
  return [
    ...services.flatMap(({ host, name, namespace }) => [
      host,
      name,
      `${name}.${namespace}`,
      `${name}.${namespace}.svc`,
    ]),
    ...serviceEntries.flatMap(({ hosts, addresses }) => [...hosts, ...addresses]),
    ...virtualServices.flatMap(({ hosts }) => hosts),
  ]
}

/** RDB0016 */
export function findUnknownPorts(scene: Scene): readonly Draft[] {
  if (!scene.hasInventory) return []
  return all(scene).flatMap((one): readonly Draft[] => {
    if (one.field !== 'ports' && one.field !== 'destination.port') return []
    const workloads = scene.selected(one.policy)
    const ports = workloads
      .flatMap((workload) => [...workload.ports, ...gatewayPortsOf(scene.intent, workload)])
      .map(({ port }) => port)
    if (workloads.length === 0 || ports.includes(Number(one.value))) return []
    const services = scene.intent.services.flatMap((service) =>
      workloads.some(
        ({ namespace, labels }) =>
          namespace === service.namespace && service.selector && selects(service.selector, labels),
      )
        ? service.ports
        : [],
    )
    const own = [...new Set(ports)].join(', ')
    const isServicePort = services.some(({ port }) => port === Number(one.value))
    const hint = isServicePort
      ? `it is a port of the Service; policies see the workload's: ${own}`
      : `they have ${own}`
    return [
      draft(
        'RDB0016',
        one,
        `${namesOf(workloads)} ha${workloads.length === 1 ? 's' : 've'} no port ${one.value}`,
        hint,
      ),
    ]
  })
}

/** RDB0017 */
export function findUnverifiedClaims(scene: Scene): readonly Draft[] {
  const authentications = scene.ofKind('RequestAuthentication').map(({ namespace, value }) => {
    const selector = selectorIn(value)
    return selector ? { namespace, selector } : { namespace }
  })
  const root = scene.intent.mesh.rootNamespace
  return sidecarPolicies(scene).flatMap((policy) => {
    const [first] = writtenValues(policy).filter(
      ({ field }) => field === 'requestPrincipals' || field.startsWith('request.auth.'),
    )
    if (!first) return []
    const workloads = scene.selected(policy)
    const bare = workloads.filter(
      (workload) => !authentications.some((one) => scene.selected(one).includes(workload)),
    )
    const none = !authentications.some(({ namespace }) =>
      [policy.namespace, root].includes(namespace),
    )
    if (scene.hasInventory ? bare.length === 0 : !none) return []
    const where = bare.length === 0 ? policy.namespace : namesOf(bare)
    const message = `${first.field} asks for a verified token, and no RequestAuthentication verifies any for ${where}`
    const hint =
      'add a RequestAuthentication with the issuer and its keys; without it the claim is never there'
    return [draft('RDB0017', first, message, hint)]
  })
}

/** Every value of every policy that sidecars apply. */
export function all(scene: Scene): readonly WrittenValue[] {
  return sidecarPolicies(scene).flatMap(writtenValues)
}

/** A finding about one value. */
export function draft(
  code: Draft['code'],
  { policy, path }: WrittenValue,
  message: string,
  hint: string,
): Draft {
  return { code, subject: subjectOf('AuthorizationPolicy', policy), path, message, hint }
}
