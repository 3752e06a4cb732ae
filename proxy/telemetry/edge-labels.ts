/** Labels of an edge as Prometheus text, in Istio's order (istio-semantics §13.2). */
import type { WorkloadRef } from '#policy/model/index.ts'
import type { EdgeLabels } from './edge.ts'
import { labelText } from './prometheus.ts'

/** Labels before those that vary from request to request, and labels after them. */
export function renderEdge(labels: EdgeLabels): { readonly head: string; readonly tail: string } {
  const { source = {}, destination = {}, service = {} } = labels
  return {
    head: labelText({
      reporter: labels.reporter,
      source_workload: known(source.name),
      source_canonical_service: canonicalService(source),
      source_canonical_revision: canonicalRevision(source),
      source_workload_namespace: known(source.namespace),
      source_principal: known(labels.sourcePrincipal),
      source_app: known(source.labels?.['app']),
      source_version: known(source.labels?.['version']),
      source_cluster: UNKNOWN,
      destination_workload: known(destination.name),
      destination_workload_namespace: known(destination.namespace),
      destination_principal: known(labels.destinationPrincipal),
      destination_app: known(destination.labels?.['app']),
      destination_version: known(destination.labels?.['version']),
      destination_service: known(service.host),
      destination_canonical_service: canonicalService(destination),
      destination_canonical_revision: canonicalRevision(destination),
      destination_service_name: known(service.name),
      destination_service_namespace: known(service.namespace),
      destination_cluster: UNKNOWN,
      request_protocol: labels.protocol,
    }),
    tail: `,${labelText({ connection_security_policy: labels.security })}`,
  }
}

const UNKNOWN = 'unknown'

function known(value: string | undefined): string {
  return value === undefined || value === '' ? UNKNOWN : value
}

/** As Istio's injector labels a pod that has no canonical name: by its app, else by its workload. */
function canonicalService({ labels = {}, name }: Partial<WorkloadRef>): string {
  return known(
    labels['service.istio.io/canonical-name'] ??
      labels['app.kubernetes.io/name'] ??
      labels['app'] ??
      name,
  )
}

function canonicalRevision({ labels = {} }: Partial<WorkloadRef>): string {
  return (
    labels['service.istio.io/canonical-revision'] ??
    labels['app.kubernetes.io/version'] ??
    labels['version'] ??
    'latest'
  )
}
