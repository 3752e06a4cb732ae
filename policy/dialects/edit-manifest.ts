/** Small repairs of manifests: every byte that no repair names stays as it is, comments with it. */
import { type Document, isNode, isScalar, isSeq, type Node, parseAllDocuments } from 'yaml'

import type { PathKey } from './pointer.ts'

/** One repair: a scalar gets another text, or an item leaves its list. */
export type ManifestEdit =
  | { readonly kind: 'set'; readonly path: readonly PathKey[]; readonly value: string }
  | { readonly kind: 'remove'; readonly path: readonly PathKey[] }

/** An edit and the document that it is for, from 1, empty documents not counted. */
export interface DocumentEdit {
  readonly document: number
  readonly edit: ManifestEdit
}

/** The text of a file with `edits` made; one whose place is not found, or not a list's, is not made. */
export function editManifest(text: string, edits: readonly DocumentEdit[]): string {
  const parsed = parseAllDocuments(text)
  const documents: Document[] = Array.isArray(parsed) ? parsed : []
  const filled = documents.filter(
    ({ contents }) => contents !== null && !(isScalar(contents) && contents.value === null),
  )
  const splices = edits.flatMap(({ document, edit }) => {
    const target = filled[document - 1]
    if (target === undefined) return []
    return edit.kind === 'set' ? spliceScalar(target, edit, text) : spliceItem(target, edit, text)
  })
  // From the end, so that no splice moves another; what lies in one that was made is gone already.
  let from = text.length
  let edited = text
  for (const { start, end, put } of splices.toSorted((a, b) => b.start - a.start)) {
    if (end > from) continue
    edited = edited.slice(0, start) + put + edited.slice(end)
    from = start
  }
  return edited
}

interface Splice {
  readonly start: number
  readonly end: number
  readonly put: string
}

function spliceScalar(
  document: Document,
  { path, value }: ManifestEdit & { readonly kind: 'set' },
  text: string,
): readonly Splice[] {
  const node = document.getIn(path, true)
  if (!isScalar(node) || !node.range) return []
  const [start, end] = node.range
  const isQuoted = /^["']/.test(text.slice(start, end))
  return [{ start, end, put: isQuoted ? JSON.stringify(value) : value }]
}

function spliceItem(document: Document, { path }: ManifestEdit, text: string): readonly Splice[] {
  const list = document.getIn(path.slice(0, -1), true)
  const index = path.at(-1)
  if (!isSeq(list) || typeof index !== 'number') return []
  const [previous, item, next] = [-1, 0, 1].map((step) => rangeOf(list.items[index + step]))
  if (!item) return []
  if (!list.flow) {
    // A block item begins with its dash, and its line is its own.
    const start = text.lastIndexOf('\n', text.lastIndexOf('-', item[0])) + 1
    return previous || next ? [{ start, end: item[2], put: '' }] : []
  }
  if (next) return [{ start: item[0], end: next[0], put: '' }]
  return previous ? [{ start: previous[1], end: item[1], put: '' }] : []
}

function rangeOf(node: unknown): Node['range'] {
  return isNode(node) ? node.range : undefined
}
