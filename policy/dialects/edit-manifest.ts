/**
 * Small repairs of manifests: every byte that no repair names stays as it is, comments with it. A text
 * that was edited is read again, and taken only if it says what the repairs were to make of it.
 */
import { isDeepStrictEqual } from 'node:util'
import { type Document, isScalar, parseAllDocuments } from 'yaml'

import type { PathKey } from './pointer.ts'
import { readDocuments } from './read-document.ts'
import { type Splice, spliceOf } from './splice-manifest.ts'

/** One repair: a scalar gets another text, a field another name, or an item leaves its list. */
export type ManifestEdit =
  | { readonly kind: 'set'; readonly path: readonly PathKey[]; readonly value: string }
  | { readonly kind: 'rename'; readonly path: readonly PathKey[]; readonly name: string }
  | { readonly kind: 'remove'; readonly path: readonly PathKey[] }

/** An edit and the document that it is for, from 1, empty documents not counted. */
export interface DocumentEdit {
  readonly document: number
  readonly edit: ManifestEdit
}

/** What became of a file. */
export interface EditedManifest {
  readonly text: string
  /** Those of the edits that `text` has. */
  readonly made: readonly DocumentEdit[]
}

/**
 * Edits the text of a file. An edit is not made where the text has no place of its own for it (behind
 * an alias, in a document at fault), where it would empty a list, or where anything else would change with it.
 */
export function editManifest(text: string, edits: readonly DocumentEdit[]): EditedManifest {
  // What is done to an item that leaves is done with it.
  const outer = edits.filter((one) => !edits.some((other) => other !== one && takes(other, one)))
  const all = attempt(text, outer)
  if (all !== undefined) return { text: all, made: edits }
  // From the end of the file, so that no edit moves the place of another.
  let edited = text
  const made: DocumentEdit[] = []
  for (const one of outer.toSorted((a, b) => comparePlaces(b, a))) {
    const next = attempt(edited, [one])
    if (next === undefined) continue
    edited = next
    made.push(one, ...edits.filter((other) => other !== one && takes(one, other)))
  }
  return { text: edited, made }
}

function takes({ document, edit }: DocumentEdit, other: DocumentEdit): boolean {
  const { path } = other.edit
  return (
    edit.kind === 'remove' &&
    document === other.document &&
    path.length > edit.path.length &&
    edit.path.every((key, at) => key === path[at])
  )
}

function comparePlaces(a: DocumentEdit, b: DocumentEdit): number {
  if (a.document !== b.document) return a.document - b.document
  const [one, other] = [a.edit.path, b.edit.path]
  const at = one.findIndex((key, index) => key !== other[index])
  const [left = -1, right = -1] = at === -1 ? [one.length, other.length] : [one[at], other[at]]
  if (typeof left === 'number' && typeof right === 'number') return left - right
  return String(left) < String(right) ? -1 : 1
}

/** The text with all of `edits`; `undefined` unless it then says just what they were to make of it. */
function attempt(text: string, edits: readonly DocumentEdit[]): string | undefined {
  const documents = filledDocuments(text)
  const splices: Splice[] = []
  for (const { document, edit } of edits) {
    const target = documents[document - 1]
    const splice = target && spliceOf(target, edit, text)
    if (splice === undefined) return undefined
    splices.push(splice)
  }
  const edited = withSplices(text, splices)
  const wanted = readDocuments(text).map(({ value }) => copyOf(value))
  const isPossible = edits
    .toSorted((a, b) => comparePlaces(b, a))
    .every(({ document, edit }) => applyTo(wanted[document - 1], edit))
  const found = edited === undefined ? [] : readDocuments(edited).map(({ value }) => copyOf(value))
  return isPossible && isDeepStrictEqual(found, wanted) ? edited : undefined
}

function filledDocuments(text: string): readonly Document[] {
  const parsed = parseAllDocuments(text)
  const documents: Document[] = Array.isArray(parsed) ? parsed : []
  return documents.filter(
    ({ contents }) => contents !== null && !(isScalar(contents) && contents.value === null),
  )
}

/** `undefined` if two of them overlap. */
function withSplices(text: string, splices: readonly Splice[]): string | undefined {
  let edited = text
  let from = text.length
  for (const { start, end, put } of splices.toSorted((a, b) => b.start - a.start)) {
    if (end > from) return undefined
    edited = edited.slice(0, start) + put + edited.slice(end)
    from = start
  }
  return edited
}

/** A copy in which what an anchor shared stands once for each place. */
function copyOf(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value))
}

/** Makes an edit in a plain value; false if it cannot be made. */
function applyTo(root: unknown, { path, ...edit }: ManifestEdit): boolean {
  const parent = path.slice(0, -1).reduce<unknown>((at, key) => childOf(at, key), root)
  const last = path.at(-1)
  if (last === undefined || childOf(parent, last) === undefined) return false
  if (edit.kind === 'remove') {
    if (!Array.isArray(parent) || typeof last !== 'number' || parent.length < 2) return false
    parent.splice(last, 1)
    return true
  }
  const object = parent as Record<PathKey, unknown>
  if (edit.kind === 'set') object[last] = edit.value
  else {
    if (Object.hasOwn(object, edit.name)) return false
    object[edit.name] = object[last]
    delete object[last]
  }
  return true
}

function childOf(value: unknown, key: PathKey): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    ? (value as Record<PathKey, unknown>)[key]
    : undefined
}
