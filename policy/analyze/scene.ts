/** What every check looks at: the intent, and the documents that it was made of. */
import { assembleInbound } from '../assemble/inbound.ts'
import { selects } from '../assemble/select.ts'
import type { PathKey } from '../dialects/pointer.ts'
import { objectsOf, type WrittenObject } from '../dialects/objects.ts'
import { readDocuments } from '../dialects/read-document.ts'
import { type ManifestFile, readManifests } from '../dialects/read-manifests.ts'
import type {
  AuthorizationIntent,
  DocumentReport,
  InboundBundle,
  Intent,
  Labels,
  Workload,
} from '../model/index.ts'
import type { Subject } from './finding.ts'

/** An object as it was written. */
export interface Written extends Subject {
  readonly file: string
  /** In its file, from 1. */
  readonly document: number
  /** In its document. */
  readonly at: readonly PathKey[]
  readonly value: Readonly<Record<string, unknown>>
  readonly lineOf: (path: readonly PathKey[]) => number
}

/** The manifests, read once for all checks. */
export interface Scene {
  readonly intent: Intent
  readonly reports: readonly DocumentReport[]
  /** Valid or not; of two with one kind and name the first is found. */
  readonly find: (subject: Subject) => Written | undefined
  readonly ofKind: (kind: string) => readonly Written[]
  /** Every object, in order. */
  readonly all: readonly Written[]
  /**
   * There are workloads in the manifests. Without any, nobody can say that a selector selects nothing
   * or that an identity is unknown.
   */
  readonly hasInventory: boolean
  /** The workloads that a policy of sidecars applies to, with and without one. */
  readonly selected: (of: Scoped) => readonly Workload[]
  /** What the sidecar of a workload is told. */
  readonly bundleOf: (workload: Workload) => InboundBundle
  /** Those with a Namespace, a workload or a service, and the root namespace. */
  readonly namespaces: ReadonlySet<string>
}

/** Whatever has a selector and a namespace. */
export interface Scoped {
  readonly namespace: string
  readonly selector?: Labels
}

/** Reads the manifests for the checks. */
export function readScene(files: readonly ManifestFile[]): Scene {
  const { intent, documents: reports } = readManifests(files)
  const written = files.flatMap(({ path, text }) =>
    readDocuments(text)
      .flatMap(objectsOf)
      .flatMap((object) => writtenOf(path, object)),
  )
  const byKey = new Map(written.toReversed().map((one) => [keyOf(one), one]))
  const bundles = new Map<Workload, InboundBundle>()
  const bundleOf = (workload: Workload): InboundBundle => {
    const known = bundles.get(workload)
    if (known) return known
    const ports = workload.ports.map((port) => ({ ...port, address: '' }))
    const bundle = assembleInbound(intent, { ...workload, ports })
    bundles.set(workload, bundle)
    return bundle
  }
  const { mesh, workloads } = intent
  return {
    intent,
    reports,
    find: (subject) => byKey.get(keyOf(subject)),
    all: written,
    ofKind: (kind) => written.filter((one) => one.kind === kind),
    hasInventory: workloads.length > 0,
    selected: ({ namespace, selector }) =>
      workloads.filter(
        (one) =>
          (namespace === one.namespace || namespace === mesh.rootNamespace) &&
          selects(selector, one.labels),
      ),
    bundleOf,
    namespaces: new Set([
      mesh.rootNamespace,
      ...intent.namespaces.map(({ name }) => name),
      ...[...workloads, ...intent.services].map(({ namespace }) => namespace),
    ]),
  }
}

/** Policies that sidecars apply, the dry ones with them. */
export function sidecarPolicies({ intent }: Scene): readonly AuthorizationIntent[] {
  return intent.authorizationPolicies.filter(({ targeted }) => !targeted)
}

/** Names of a policy's workloads, for people. */
export function namesOf(workloads: readonly Workload[]): string {
  const names = workloads.map(({ namespace, name }) => `${namespace}/${name}`)
  const shown = names.slice(0, 4).join(', ')
  return names.length > 4 ? `${shown} and ${names.length - 4} more` : shown
}

/** The subject of an intent's object. */
export function subjectOf(
  kind: string,
  { namespace, name }: { readonly namespace: string; readonly name: string },
): Subject {
  return { kind, namespace, name }
}

function writtenOf(
  file: string,
  { value, document, at, lineOf }: WrittenObject,
): readonly Written[] {
  if (!isRecord(value) || typeof value['kind'] !== 'string') return []
  const metadata = isRecord(value['metadata']) ? value['metadata'] : {}
  const { namespace = 'default', name = '' } = metadata
  const subject = { kind: value['kind'], namespace: String(namespace), name: String(name) }
  return [{ ...subject, file, document, at, value, lineOf }]
}

function keyOf({ kind, namespace, name }: Subject): string {
  return CLUSTER_KINDS.includes(kind) ? `${kind} ${name}` : `${kind} ${namespace}/${name}`
}

const CLUSTER_KINDS = ['Mesh', 'Namespace']

/** Whether a value is an object, and no list. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
