/** Which mTLS mode holds where (istio-semantics §2.3, §2.5). */
import type { MtlsMode } from '../model/bundle.ts'
import type { Intent, Labels, PeerAuthentication } from '../model/intent.ts'
import { lookupOf } from './lookup.ts'
import { selects } from './select.ts'

export interface PeerModes {
  /** Of ports that have none of their own. */
  readonly workload: MtlsMode
  /** By workload port: only those that a policy names. */
  readonly ports: Readonly<Record<string, MtlsMode>>
}

/** Modes of one workload: mesh, then namespace, then workload, then port; the oldest in each scope. */
export function peerModes(
  intent: Intent,
  { namespace, labels }: { readonly namespace: string; readonly labels: Labels },
): PeerModes {
  const { peerAuthentications } = lookupOf(intent)
  // With a selector, a policy of the root namespace applies nowhere (§2.3).
  const candidates =
    namespace === intent.mesh.rootNamespace ? [] : (peerAuthentications.get(namespace) ?? [])
  const own = candidates.find(({ selector }) => selector && selects(selector, labels))
  const workload = own?.mode ?? namespaceMode(intent, namespace)
  const ports = Object.entries(own?.ports ?? {}).map(([port, mode]) => [port, mode ?? workload])
  return { workload, ports: Object.fromEntries(ports) }
}

/** The mode of a namespace, workload and port policies left aside; also the clients' hint for a service (§2.5). */
export function namespaceMode(intent: Intent, namespace: string): MtlsMode {
  const { rootNamespace } = intent.mesh
  const { peerAuthentications } = lookupOf(intent)
  const scoped = (of: string): PeerAuthentication | undefined =>
    peerAuthentications.get(of)?.find(({ selector }) => !selector)
  const mesh = scoped(rootNamespace)?.mode ?? 'PERMISSIVE'
  return namespace === rootNamespace ? mesh : (scoped(namespace)?.mode ?? mesh)
}

/** The mode that a workload's sidecar uses on `port`. */
export function portMode({ workload, ports }: PeerModes, port: number): MtlsMode {
  return ports[String(port)] ?? workload
}
