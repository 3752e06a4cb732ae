/** Which mTLS mode holds where (istio-semantics §2.3, §2.5), and which would if what is tried out were in force. */
import type { MtlsDryRun, MtlsMode } from '../model/bundle.ts'
import type { Intent, Labels, PeerAuthentication } from '../model/intent.ts'
import { type IntentLookup, lookupOf } from './lookup.ts'
import { selects } from './select.ts'

export interface PeerModes {
  /** Of ports that have none of their own. */
  readonly workload: MtlsMode
  /** By workload port: only those that a policy names. */
  readonly ports: Readonly<Record<string, MtlsMode>>
}

interface Place {
  readonly namespace: string
  readonly labels: Labels
}

/** Modes of one workload: mesh, then namespace, then workload, then port; the oldest in each scope. */
export function peerModes(intent: Intent, place: Place): PeerModes {
  const held = heldModes(intent, lookupOf(intent).peerAuthentications, place)
  const ports = Object.entries(held.ports).map(([port, { mode }]) => [port, mode])
  return { workload: held.workload.mode, ports: Object.fromEntries(ports) }
}

/**
 * What would hold if every dry-run object took the place of what is in force in its scope: of a workload, and
 * of each port that an object names. Only where a dry-run object decides.
 */
export function triedModes(
  intent: Intent,
  place: Place,
): { readonly workload?: MtlsDryRun; readonly ports: Readonly<Record<string, MtlsDryRun>> } {
  const { triedPeerAuthentications } = lookupOf(intent)
  if (triedPeerAuthentications === undefined) return { ports: {} }
  const held = heldModes(intent, triedPeerAuthentications, place)
  const workload = dryRunOf(held.workload)
  const ports = Object.entries(held.ports).flatMap(([port, one]) => {
    const tried = dryRunOf(one)
    return tried === undefined ? [] : [[port, tried] as const]
  })
  return { ...(workload === undefined ? {} : { workload }), ports: Object.fromEntries(ports) }
}

/** The mode of a namespace, workload and port policies left aside; also the clients' hint for a service (§2.5). */
export function namespaceMode(intent: Intent, namespace: string): MtlsMode {
  return heldByNamespace(intent, lookupOf(intent).peerAuthentications, namespace).mode
}

/** The mode that a workload's sidecar uses on `port`. */
export function portMode({ workload, ports }: PeerModes, port: number): MtlsMode {
  return ports[String(port)] ?? workload
}

/** A mode, and the object that it is from; `undefined`: the default. */
interface Held {
  readonly mode: MtlsMode
  readonly by: PeerAuthentication | undefined
}

type ByNamespace = IntentLookup['peerAuthentications']

function heldModes(
  intent: Intent,
  objects: ByNamespace,
  { namespace, labels }: Place,
): { readonly workload: Held; readonly ports: Readonly<Record<string, Held>> } {
  // With a selector, a policy of the root namespace applies nowhere (§2.3).
  const candidates = namespace === intent.mesh.rootNamespace ? [] : (objects.get(namespace) ?? [])
  const own = candidates.find(({ selector }) => selector && selects(selector, labels))
  const workload = own?.mode
    ? { mode: own.mode, by: own }
    : heldByNamespace(intent, objects, namespace)
  const ports = Object.entries(own?.ports ?? {}).map(([port, mode]) => [
    port,
    mode ? { mode, by: own } : workload,
  ])
  return { workload, ports: Object.fromEntries(ports) }
}

function heldByNamespace(intent: Intent, objects: ByNamespace, namespace: string): Held {
  const { rootNamespace } = intent.mesh
  const scoped = (of: string): Held | undefined => {
    const by = objects.get(of)?.find(({ selector }) => !selector)
    return by?.mode && { mode: by.mode, by }
  }
  const mesh = scoped(rootNamespace) ?? { mode: 'PERMISSIVE', by: undefined }
  return namespace === rootNamespace ? mesh : (scoped(namespace) ?? mesh)
}

function dryRunOf({ mode, by }: Held): MtlsDryRun | undefined {
  return by?.dryRun ? { mode, policy: `${by.namespace}/${by.name}` } : undefined
}
