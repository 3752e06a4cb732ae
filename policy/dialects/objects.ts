/** The objects of a document: itself; or, of what `kubectl get -o yaml` prints for several, its items. */
import type { PathKey } from './pointer.ts'
import type { ManifestDocument } from './read-document.ts'

/** One object, with the lines of its own paths. */
export interface WrittenObject extends ManifestDocument {
  /** Where it stands in its document; empty: it is the document. */
  readonly at: readonly PathKey[]
}

/** Every object of `document`, lists in lists too; an empty list has none. */
export function objectsOf(document: ManifestDocument): readonly WrittenObject[] {
  return objectsAt({ ...document, at: [] })
}

function objectsAt(written: WrittenObject): readonly WrittenObject[] {
  const items = itemsOf(written.value)
  if (items === undefined) return [written]
  return items.flatMap((value, index) => {
    const path = ['items', index]
    const lineOf = (below: readonly PathKey[]): number => written.lineOf([...path, ...below])
    return objectsAt({ ...written, value, at: [...written.at, ...path], line: lineOf([]), lineOf })
  })
}

/** Of `kind: List`, `v1`, as kubectl prints it; no items at all are none. */
function itemsOf(value: unknown): readonly unknown[] | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const { apiVersion, kind, items } = value as Readonly<Record<string, unknown>>
  if (apiVersion !== 'v1' || kind !== 'List') return undefined
  return Array.isArray(items ?? []) ? ((items ?? []) as readonly unknown[]) : undefined
}
