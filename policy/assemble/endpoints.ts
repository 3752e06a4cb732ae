/** Who answers for a host: addresses, TLS and identities (istio-semantics §2.5, §8.2; secure naming). */
import { type SpiffeId, serviceAccountId } from '#ca/spiffe/index.ts'
import type { Endpoint } from '../model/bundle.ts'
import type {
  Intent,
  Labels,
  ServiceEntry,
  ServiceEntryEndpoint,
  ServicePort,
  WorkloadInstance,
} from '../model/intent.ts'
import { isGatewayPort } from './gateway-ports.ts'
import { targets, workloadRef } from './inbound.ts'
import { instancesIn } from './lookup.ts'
import { namespaceMode, peerModes, portMode } from './peer-mode.ts'
import type { RegistryHost } from './registry.ts'
import { selects } from './select.ts'

/** What the client side has settled before it looks at one endpoint. */
export interface ClientTls {
  /** Of the DestinationRule; left out: each endpoint decides (auto mTLS). */
  readonly mode?: 'ISTIO_MUTUAL' | 'DISABLE'
}

/** The endpoints of `host` at `port`, sorted, and those with all `labels` only. `asked` is the name that the client used. */
export function endpointsOf(
  intent: Intent,
  instances: readonly WorkloadInstance[],
  host: RegistryHost,
  port: ServicePort,
  {
    tls,
    labels,
    asked,
  }: { readonly tls: ClientTls; readonly labels?: Labels; readonly asked: string },
): readonly Endpoint[] {
  const found =
    host.origin.kind === 'service'
      ? instancesBehind(
          intent,
          instances,
          { namespace: host.namespace, selector: host.origin.service.selector },
          port,
          tls,
        )
      : host.origin.entries.flatMap((entry) =>
          entryEndpoints(intent, instances, entry, host, port, tls, asked),
        )
  return found
    .filter((endpoint) => selects(labels, endpoint.workload.labels))
    .toSorted((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0))
}

function instancesBehind(
  intent: Intent,
  instances: readonly WorkloadInstance[],
  { namespace, selector }: { readonly namespace: string; readonly selector: Labels | undefined },
  port: ServicePort,
  tls: ClientTls,
): readonly Endpoint[] {
  if (!selector) return []
  const hint = namespaceMode(intent, namespace)
  return instancesIn(instances, namespace)
    .filter((instance) => selects(selector, instance.labels))
    .flatMap((instance) =>
      instance.ports
        .filter((declared) => declared.address !== '' && targets(port, declared))
        .slice(0, 1)
        .map(({ address, port: workloadPort }): Endpoint => {
          const accepts =
            instance.sidecar &&
            portMode(peerModes(intent, instance), workloadPort) !== 'DISABLE' &&
            !isGatewayPort(intent, instance, workloadPort)
          const mutual = speaksMutual(intent, tls, hint !== 'DISABLE' && accepts)
          return {
            address,
            tls: mutual ? 'mutual' : 'none',
            identities: mutual
              ? identitiesOf(intent, instance.namespace, instance.serviceAccount)
              : [],
            workload: workloadRef(instance),
          }
        }),
    )
}

/** A DestinationRule's word is final; without one, auto mTLS wherever the other side takes it (§2.5). */
function speaksMutual(intent: Intent, { mode }: ClientTls, auto: boolean): boolean {
  if (mode) return mode === 'ISTIO_MUTUAL'
  return intent.mesh.autoMtls && auto
}

/** The account's identity in the mesh's trust domain and in each alias. */
function identitiesOf(
  intent: Intent,
  namespace: string,
  serviceAccount: string,
): readonly SpiffeId[] {
  const { trustDomain, trustDomainAliases } = intent.mesh
  return [trustDomain, ...trustDomainAliases].map((domain) =>
    serviceAccountId(domain, { namespace, serviceAccount }),
  )
}

function entryEndpoints(
  intent: Intent,
  instances: readonly WorkloadInstance[],
  entry: ServiceEntry,
  host: RegistryHost,
  port: ServicePort,
  tls: ClientTls,
  asked: string,
): readonly Endpoint[] {
  const { workloadSelector: selector, resolution, endpoints, namespace } = entry
  if (selector) return instancesBehind(intent, instances, { namespace, selector }, port, tls)
  const external = (address: string): ServiceEntryEndpoint => ({
    address,
    ports: {},
    labels: {},
    serviceAccount: '',
  })

  if (resolution === 'NONE') return entryEndpoint(intent, entry, external(asked), port.port, tls)
  const listed =
    endpoints.length > 0 ? endpoints : resolution === 'STATIC' ? [] : [external(host.host)]
  return listed.flatMap((endpoint) =>
    entryEndpoint(
      intent,
      entry,
      endpoint,
      endpoint.ports[port.name] ?? Number(port.targetPort),
      tls,
    ),
  )
}

function entryEndpoint(
  intent: Intent,
  { namespace, name, location, subjectAltNames = [] }: ServiceEntry,
  { address, labels, serviceAccount }: ServiceEntryEndpoint,
  port: number,
  tls: ClientTls,
): readonly Endpoint[] {
  const inMesh = location === 'MESH_INTERNAL' && labels['security.istio.io/tlsMode'] === 'istio'
  const mutual = speaksMutual(intent, tls, inMesh && namespaceMode(intent, namespace) !== 'DISABLE')
  // Nobody is known to answer there: mutual TLS with whoever does would prove nothing.
  const named = subjectAltNames.length > 0
  if (mutual && serviceAccount === '' && !named) return []
  return [
    {
      address: address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`,
      tls: mutual ? 'mutual' : 'none',
      identities: !mutual
        ? []
        : named
          ? subjectAltNames
          : identitiesOf(intent, namespace, serviceAccount),
      workload: { namespace, name, serviceAccount, labels },
    },
  ]
}
