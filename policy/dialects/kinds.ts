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

export type FoundKind =
  | { readonly kind: 'found'; readonly definition: Kind }
  | {
      readonly kind: 'refused'
      readonly field: 'apiVersion' | 'kind'
      readonly message: string
      readonly hint: string
    }

/** The kind that `apiVersion` and `kind` name, or why none. */
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
      message: 'a List is no object: each of its items is expected as a document of its own',
      hint: `make documents of it: kubectl get KIND -A -o json | jq -r '.items[] | "---", tojson'`,
    }
  }
  const meant = suggest(
    kind,
    KINDS.map((known) => known.kind),
  )
  return {
    kind: 'refused',
    field: 'kind',
    message: `the kind ${JSON.stringify(kind)} of ${group === '' ? 'the core group' : group} is not supported`,
    hint: meant
      ? `did you mean ${JSON.stringify(meant)}?`
      : `supported: ${KINDS.map((known) => known.kind).join(', ')}`,
  }
}

function apiVersionOf(group: string, version: string): string {
  return group === '' ? version : `${group}/${version}`
}
