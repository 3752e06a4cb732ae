/**
 * Manifests to intent: every document of every file is judged alone, then against the others, and
 * only the valid ones become intent. Pure; whoever watches the files decides what to keep when one
 * is faulty.
 */
import type { DocumentReport, Fault, Intent } from '../model/intent.ts'
import type { Placed, Placement } from './kind.ts'
import { findKind } from './kinds.ts'
import { objectsOf, type WrittenObject } from './objects.ts'
import { type PathKey, pointerFromPath } from './pointer.ts'
import { readDocuments } from './read-document.ts'
import { DEFAULT_MESH } from './redoubt/mesh.ts'
import { faultsOf, show, wrongType } from './schema.ts'

export interface ManifestFile {
  /** For reports; relative or absolute, as the user gave it. */
  readonly path: string
  readonly text: string
}

export interface Manifests {
  /** Of the documents that are valid and have nothing unsupported. */
  readonly intent: Intent
  /** One for each document, in order of files and positions; documents without content have none, a List one an item. */
  readonly documents: readonly DocumentReport[]
}

/** A document whose kind, and perhaps content, is understood. */
interface Judged {
  readonly report: DocumentReport
  /** Set when the report has neither errors nor anything unsupported. */
  readonly placed?: Placement
  readonly written: WrittenObject
}

/** Reads Kubernetes-style documents (YAML or JSON). Never throws: what is wrong is in the reports. */
export function readManifests(files: readonly ManifestFile[]): Manifests {
  return createManifestReader()(files)
}

/** {@link readManifests} for whoever reads again and again: a file with the text it had is not read anew. */
export function createManifestReader(): (files: readonly ManifestFile[]) => Manifests {
  let known = new Map<string, { readonly text: string; readonly judged: readonly Judged[] }>()
  return (files) => {
    const read = files.map(({ path, text }) => {
      const before = known.get(path)
      const judged =
        before?.text === text
          ? before.judged
          : readDocuments(text)
              .flatMap(objectsOf)
              .map((one) => judge(path, one))
      return [path, { text, judged }] as const
    })
    known = new Map(read)
    const documents = refuseDuplicates(read.flatMap(([, { judged }]) => judged))
    return { intent: intentOf(documents), documents: documents.map(({ report }) => report) }
  }
}

function judge(file: string, written: WrittenObject): Judged {
  const { value, lineOf, at } = written
  const identity = identityOf(value)
  const report = (
    errors: readonly Fault[],
    warnings: readonly Fault[] = [],
    unsupported: readonly Fault[] = [],
  ): DocumentReport => ({
    file,
    document: written.document,
    line: written.line,
    ...identity,
    valid: errors.length === 0,
    errors,
    warnings,
    unsupported,
  })
  if (written.faults.length > 0) return { report: report(written.faults), written }

  const fault = (path: readonly PathKey[], message: string, hint?: string): Fault => ({
    pointer: pointerFromPath([...at, ...path]),
    line: lineOf(path),
    message,
    ...(hint === undefined ? {} : { hint }),
  })
  if (!isRecord(value))
    return { report: report([fault([], `found ${show(value)}, expected a manifest`)]), written }

  const { apiVersion, kind } = value
  const missing = Object.entries({ apiVersion, kind }).filter(
    ([, word]) => typeof word !== 'string',
  )
  if (typeof apiVersion !== 'string' || typeof kind !== 'string') {
    const errors = missing.map(([field, word]) => fault([field], wrongType('string', word)))
    return { report: report(errors), written }
  }
  const found = findKind(apiVersion, kind)
  if (found.kind === 'refused')
    return { report: report([fault([found.field], found.message, found.hint)]), written }
  if (found.kind === 'foreign') return { report: { ...report([]), skipped: true }, written }

  const { definition } = found
  const scoped = definition.scope === 'cluster' ? { ...identity, namespace: '' } : identity
  const errors = faultsOf(definition.schema, value, lineOf).map((one) => ({
    ...one,
    pointer: pointerFromPath(at) + one.pointer,
  }))
  if (errors.length > 0) return { report: { ...report(errors), ...scoped }, written }
  const warnings = definition.warnings(value, file).map(({ path, message }) => fault(path, message))
  const unsupported = definition
    .unsupported(value)
    .map(({ path, message, hint }) => fault(path, message, hint))
  return {
    report: { ...report([], warnings, unsupported), ...scoped },
    ...(unsupported.length === 0 ? { placed: definition.place(value, file) } : {}),
    written,
  }
}

function identityOf(value: unknown): { kind: string; namespace: string; name: string } {
  const { kind, metadata } = isRecord(value) ? value : {}
  const { namespace, name } = isRecord(metadata) ? metadata : {}
  const text = (word: unknown, otherwise: string): string =>
    typeof word === 'string' ? word : otherwise
  return { kind: text(kind, ''), namespace: text(namespace, 'default'), name: text(name, '') }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The second object of one kind and name is at fault, wherever it stands; so is a second `Mesh`. */
function refuseDuplicates(judged: readonly Judged[]): readonly Judged[] {
  const first = new Map<string, DocumentReport>()
  return judged.map((one) => {
    const { report, written } = one
    if (!report.valid || report.skipped) return one
    const { kind, namespace, name } = report
    const key = kind === 'Mesh' ? kind : `${kind} ${namespace}/${name}`
    const earlier = first.get(key)
    if (!earlier) {
      first.set(key, report)
      return one
    }
    const path = ['metadata', 'name']
    const where = `${earlier.file}:${earlier.line}`
    const message =
      kind === 'Mesh'
        ? `there is already a Mesh, at ${where}`
        : `${key} is already defined at ${where}`
    const error = {
      pointer: pointerFromPath([...written.at, ...path]),
      line: written.lineOf(path),
      message,
      hint: 'remove one of the two',
    }
    return { report: { ...report, valid: false, errors: [error] }, written }
  })
}

type Collected = { readonly [K in keyof Placed]: Placed[K][] }

function intentOf(judged: readonly Judged[]): Intent {
  const collected: Collected = {
    mesh: [],
    namespaces: [],
    services: [],
    serviceEntries: [],
    workloads: [],
    authorizationPolicies: [],
    peerAuthentications: [],
    requestAuthentications: [],
    virtualServices: [],
    destinationRules: [],
    gateways: [],
    configMaps: [],
    secrets: [],
    casbinPolicies: [],
  }
  for (const { placed } of judged) {
    if (placed) (collected[placed.into] as unknown[]).push(placed.value)
  }
  const { mesh: meshes, ...rest } = collected
  return { mesh: meshes[0] ?? DEFAULT_MESH, ...rest }
}
