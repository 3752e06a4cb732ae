/** Which bytes of a text an edit takes out, and what it puts in their place. */
import { type Document, isMap, isNode, isScalar, isSeq, type Node } from 'yaml'

import type { ManifestEdit } from './edit-manifest.ts'
import type { PathKey } from './pointer.ts'

/** Half-open, in UTF-16 units. */
export interface Splice {
  readonly start: number
  readonly end: number
  readonly put: string
}

/** `undefined`: the text has no place of its own for the edit. */
export function spliceOf(document: Document, edit: ManifestEdit, text: string): Splice | undefined {
  switch (edit.kind) {
    case 'set':
      return withText(document.getIn(edit.path, true), edit.value, text)
    case 'rename':
      return withText(keyOf(document, edit.path), edit.name, text)
    case 'remove':
      return withoutItem(document, edit.path, text)
  }
}

function withText(node: unknown, put: string, text: string): Splice | undefined {
  if (!isScalar(node) || !node.range) return undefined
  const [start, end] = node.range
  const isQuoted = /^["']/.test(text.slice(start, end))
  return { start, end, put: isQuoted ? JSON.stringify(put) : put }
}

function keyOf(document: Document, path: readonly PathKey[]): unknown {
  const map = document.getIn(path.slice(0, -1), true)
  if (!isMap(map)) return undefined
  return map.items.find(({ key }) => isScalar(key) && key.value === path.at(-1))?.key
}

function withoutItem(
  document: Document,
  path: readonly PathKey[],
  text: string,
): Splice | undefined {
  const list = document.getIn(path.slice(0, -1), true)
  const index = path.at(-1)
  if (!isSeq(list) || typeof index !== 'number') return undefined
  const [previous, item, next] = [-1, 0, 1].map((step) => rangeOf(list.items[index + step]))
  if (!item || !(previous || next)) return undefined
  if (!list.flow) return wholeLines(item, text)
  const [start, end] = next ? [item[0], next[0]] : [previous?.[1] ?? item[0], item[1]]
  if (!text.slice(start, item[0]).includes('#') && !text.slice(item[1], end).includes('#'))
    return { start, end, put: '' }
  // Comments of its neighbours stay, and so may a comma, which may stand last.
  const comma = /^\s*,[ \t]*(#[^\n]*)?/.exec(text.slice(item[1]))?.[0].length ?? 0
  return { start: item[0], end: item[1] + comma, put: '' }
}

/** A block item from the line of its dash to the end of its last line: comments on lines of their own stay. */
function wholeLines([from, to]: NonNullable<Node['range']>, text: string): Splice {
  const start = text.lastIndexOf('\n', text.lastIndexOf('-', from)) + 1
  const isAtLineStart = text[to - 1] === '\n'
  const newline = isAtLineStart ? to - 1 : text.indexOf('\n', to)
  return { start, end: newline === -1 ? text.length : newline + 1, put: '' }
}

function rangeOf(node: unknown): Node['range'] {
  return isNode(node) ? node.range : undefined
}
