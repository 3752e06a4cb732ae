/** Every kind that manifests may have. Adding one is adding a row. */
import { peerAuthenticationKind } from './istio/authentication.ts'
import { authorizationPolicyKind } from './istio/authorization.ts'
import { destinationRuleKind } from './istio/destination.ts'
import { gatewayKind } from './istio/gateway.ts'
import { requestAuthenticationKind } from './istio/request-authentication.ts'
import { proxyConfigKind } from './istio/proxy-config.ts'
import { virtualServiceKind } from './istio/route.ts'
import { serviceEntryKind } from './istio/service-entry.ts'
import { sidecarKind } from './istio/sidecar.ts'
import { telemetryKind } from './istio/telemetry.ts'
import { workloadEntryKind, workloadGroupKind } from './istio/workload-entry.ts'
import type { Kind } from './kind.ts'
import { configMapKind, secretKind } from './kubernetes/config-map.ts'
import { namespaceKind } from './kubernetes/namespace.ts'
import { serviceKind } from './kubernetes/service.ts'
import { casbinPolicyKind } from './redoubt/casbin-policy.ts'
import { meshKind } from './redoubt/mesh.ts'
import { workloadKind } from './redoubt/workload.ts'
import { suggest } from './suggest.ts'

export const KINDS: readonly Kind[] = [
  namespaceKind,
  serviceKind,
  configMapKind,
  secretKind,
  serviceEntryKind,
  workloadKind,
  meshKind,
  casbinPolicyKind,
  authorizationPolicyKind,
  peerAuthenticationKind,
  requestAuthenticationKind,
  virtualServiceKind,
  destinationRuleKind,
  gatewayKind,
  sidecarKind,
  telemetryKind,
  proxyConfigKind,
  workloadEntryKind,
  workloadGroupKind,
]

/** Kinds that reach into Envoy, and what to use in their place. */
const OF_ENVOY: Readonly<Record<string, string>> = {
  'networking.istio.io/EnvoyFilter':
    'use VirtualService and DestinationRule for traffic, AuthorizationPolicy for access',
  'extensions.istio.io/WasmPlugin':
    'use AuthorizationPolicy, with action CUSTOM and a provider for decisions of your own',
  'extensions.istio.io/TrafficExtension':
    'use AuthorizationPolicy, with action CUSTOM and a provider for decisions of your own',
}

/** Groups of those who say what a mesh does: what is not understood of them is not passed over. */
const OF_MESHES =
  /(^|\.)(istio\.io|redoubt\.io|linkerd\.io|smi-spec\.io|getambassador\.io|appmesh\.k8s\.aws|gateway\.networking\.(x-)?k8s\.io)$/

export type FoundKind =
  | { readonly kind: 'found'; readonly definition: Kind }
  /** Somebody else's, such as a Deployment: nothing of it concerns a mesh. */
  | { readonly kind: 'foreign' }
  | {
      readonly kind: 'refused'
      readonly field: 'apiVersion' | 'kind'
      readonly message: string
      readonly hint: string
    }

/** The kind that `apiVersion` and `kind` name, or why none. As Istio does, it leaves to others what is theirs. */
export function findKind(apiVersion: string, kind: string): FoundKind {
  const [version = '', group = ''] = apiVersion.split('/').reverse()
  const definition = KINDS.find((known) => known.kind === kind && known.group === group)
  if (!definition) return refuseKind(apiVersion, kind, group)
  if (definition.versions.includes(version)) return { kind: 'found', definition }
  const served = definition.versions.map((known) => apiVersionOf(definition.group, known))
  return {
    kind: 'refused',
    field: 'apiVersion',
    message: `found ${JSON.stringify(apiVersion)}, which ${kind} does not have`,
    hint: `served: ${served.join(', ')}`,
  }
}

function refuseKind(apiVersion: string, kind: string, group: string): FoundKind {
  const instead = OF_ENVOY[`${group}/${kind}`]
  if (instead !== undefined) {
    const message = `a ${kind} changes the inside of Envoy, and no Envoy is inside a sidecar of ours`
    return { kind: 'refused', field: 'kind', message, hint: instead }
  }
  const sameName = KINDS.find((known) => known.kind === kind)
  if (sameName) {
    return {
      kind: 'refused',
      field: 'apiVersion',
      message: `found ${JSON.stringify(apiVersion)}, and the kind ${kind} is of another group`,
      hint: `did you mean ${JSON.stringify(apiVersionOf(sameName.group, sameName.versions[0] ?? ''))}?`,
    }
  }
  if (kind === 'List' && group === '') {
    return {
      kind: 'refused',
      field: 'kind',
      message: 'a List has its objects in items: expected a list of them',
      hint: 'as kubectl get -o yaml prints them',
    }
  }
  const meant = suggest(
    kind,
    KINDS.map((known) => known.kind),
  )
  if (meant === undefined && isForeign(apiVersion, kind, group)) return { kind: 'foreign' }
  return {
    kind: 'refused',
    field: 'kind',
    message: `the kind ${JSON.stringify(kind)} of ${group === '' ? 'the core group' : group} is not supported`,
    hint: meant
      ? `did you mean ${JSON.stringify(meant)}?`
      : `supported: ${KINDS.map((known) => known.kind).join(', ')}`,
  }
}

/** Whether the words are ones of another API, and not ours misspelt. */
function isForeign(apiVersion: string, kind: string, group: string): boolean {
  if (group === '') return apiVersion === 'v1' && OF_KUBERNETES.test(kind)
  if (OF_MESHES.test(group) || !/^[A-Z][A-Za-z0-9]*$/.test(kind)) return false
  if (!/^([a-z0-9.-]+\/)?v\d+((alpha|beta)\d+)?$/.test(apiVersion)) return false
  return /(^|\.)k8s\.io$/.test(group) || suggest(group, GROUPS) === undefined
}

/** Other kinds of the core group, which has no more. */
const OF_KUBERNETES =
  /^(Binding|ComponentStatus|Endpoints|Event|LimitRange|Node|PersistentVolume(Claim)?|Pod(Template)?|ReplicationController|ResourceQuota|ServiceAccount)$/

const GROUPS = ['security.istio.io', 'networking.istio.io', 'telemetry.istio.io', 'redoubt.io']

function apiVersionOf(group: string, version: string): string {
  return group === '' ? version : `${group}/${version}`
}
