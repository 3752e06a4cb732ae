/**
 * YAML text to plain values, each document with a way back from a JSON Pointer to its line.
 *
 * YAML 1.2 core schema: no merge keys, no custom tags, no duplicate keys. Aliases are followed, but
 * not to the point where a small file becomes a large value ("billion laughs").
 */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
} from 'yaml'

import type { Fault } from '../model/intent.ts'
import { readPlainYaml } from './plain-yaml.ts'
import type { PathKey } from './pointer.ts'
import { pointerFromPath } from './pointer.ts'

/** UTF-16 units of one file; Kubernetes itself stores no object of more than about 1.5 MB. */
export const MAX_FILE_CHARS: number = 8 * 1024 * 1024
/** Levels of nesting; the deepest supported kind has 12. */
export const MAX_DEPTH = 64
/** What all aliases of a document may expand to, in nodes per anchor (`yaml`'s measure). */
export const MAX_ALIASES = 100

/** One document, understood as YAML or not. */
export interface ManifestDocument {
  /** Position in the file, from 1, empty documents not counted. */
  readonly document: number
  /** Where its content begins, from 1. */
  readonly line: number
  /** Plain JSON value; `undefined` when `faults` is not empty. */
  readonly value: unknown
  readonly faults: readonly Fault[]
  /** Line of what `path` points to, or of its nearest parent that exists. */
  readonly lineOf: (path: readonly PathKey[]) => number
}

/** Reads every document of one file. Never throws. */
export function readDocuments(text: string): readonly ManifestDocument[] {
  if (text.length > MAX_FILE_CHARS) {
    return [
      unreadable(
        `Cannot read file: it has ${text.length} characters, at most ${MAX_FILE_CHARS} are read`,
      ),
    ]
  }
  const nul = text.indexOf('\0')
  if (nul !== -1) {
    const line = text.slice(0, nul).split('\n').length
    return [unreadable('Cannot read file: it is no text in UTF-8, which manifests are', line)]
  }
  return readPlainly(text) ?? readExactly(text)
}

/** A plain text needs no positions until somebody asks for one: nobody does while nothing is wrong. */
function readPlainly(text: string): readonly ManifestDocument[] | undefined {
  let exact: readonly ManifestDocument[] | undefined
  return readPlainYaml(text)?.map(({ line, value }, index) => ({
    document: index + 1,
    line,
    value,
    faults: [],
    lineOf: (path) => {
      exact ??= readExactly(text)
      return exact[index]?.lineOf(path) ?? line
    },
  }))
}

/** {@link readDocuments} by the `yaml` package alone, for any text of at most {@link MAX_FILE_CHARS}. */
export function readExactly(text: string): readonly ManifestDocument[] {
  if (isTower(text)) return [unreadable('Cannot read file: it is nested too deeply')]
  const lines = new LineCounter()
  try {
    const parsed = parseAllDocuments(text, {
      lineCounter: lines,
      prettyErrors: false,
      strict: true,
      // Keys that are no texts are refused below, with their line; it would say it on standard error.
      logLevel: 'error',
    })
    const documents: Document[] = Array.isArray(parsed) ? parsed : []
    return documents
      .filter((document) => document.errors.length > 0 || hasContent(document))
      .map((document, index) => readDocument(document, index + 1, lines))
  } catch (cause) {
    // The parser descends by recursion, so absurd nesting ends in a RangeError.
    return [
      unreadable(
        `Cannot read file: ${cause instanceof RangeError ? 'it is nested too deeply' : String(cause)}`,
      ),
    ]
  }
}

/** Opening brackets, and nothing between them, that no file of ours has. */
const MAX_TOWER = 1000

/** Brackets upon brackets: the parser would climb them for seconds before it gave up. */
function isTower(text: string): boolean {
  for (let at = 0, run = 0; at < text.length; at += 1) {
    const char = text.charCodeAt(at)
    if (char === 0x5b || char === 0x7b) run += 1
    else if (char > 0x20) run = 0
    if (run > MAX_TOWER) return true
  }
  return false
}

function hasContent({ contents }: Document): boolean {
  return contents !== null && !(isScalar(contents) && contents.value === null)
}

function unreadable(message: string, line = 1): ManifestDocument {
  const faults = [{ pointer: '', line, message }]
  return { document: 1, line, value: undefined, faults, lineOf: () => line }
}

function readDocument(document: Document, index: number, lines: LineCounter): ManifestDocument {
  const lineAt = (offset: number): number => Math.max(1, lines.linePos(offset).line)
  const line = lineAt(startOf(document.contents) ?? document.range?.[0] ?? 0)
  const lineOf = (path: readonly PathKey[]): number =>
    lineAt(offsetOf(document, path) ?? startOf(document.contents) ?? 0)

  // The first error is the reason, what follows it are its consequences.
  const troubles = [...document.errors, ...document.warnings].slice(0, 1)
  const faults: Fault[] = troubles.map(({ message, pos }) => ({
    pointer: '',
    line: lineAt(pos[0]),
    message: `Cannot read YAML: ${message}`,
  }))
  const value = faults.length > 0 ? undefined : toValue(document, line, faults)
  if (faults.length === 0) faults.push(...refusedKeys(value, lineOf))
  return { document: index, line, value: faults.length > 0 ? undefined : value, faults, lineOf }
}

function toValue(document: Document, line: number, faults: Fault[]): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES })
  } catch (cause) {
    const why = cause instanceof ReferenceError ? 'its aliases expand to too much' : String(cause)
    faults.push({ pointer: '', line, message: `Cannot read YAML: ${why}` })
    return undefined
  }
}

/** `__proto__` as a key is dropped by much code that copies objects; a selector would lose a label. */
function refusedKeys(value: unknown, lineOf: ManifestDocument['lineOf']): Fault[] {
  const faults: Fault[] = []
  const fault = (path: readonly PathKey[], message: string): void => {
    faults.push({ pointer: pointerFromPath(path), line: lineOf(path), message })
  }
  const visit = (at: unknown, path: readonly PathKey[]): void => {
    if (typeof at !== 'object' || at === null) return
    if (path.length > MAX_DEPTH)
      return fault(path.slice(0, MAX_DEPTH), `nested deeper than ${MAX_DEPTH} levels`)
    const entries: Iterable<[PathKey, unknown]> = Array.isArray(at)
      ? at.entries()
      : Object.entries(at)
    for (const [key, child] of entries) {
      if (key === '__proto__') fault([...path, key], 'the key "__proto__" is refused everywhere')
      else visit(child, [...path, key])
    }
  }
  visit(value, [])
  return faults.slice(0, 10)
}

function startOf(node: unknown): number | undefined {
  const range = (node as Node | null | undefined)?.range
  return range ? range[0] : undefined
}

function offsetOf(document: Document, path: readonly PathKey[]): number | undefined {
  let node: unknown = document.contents
  let offset = startOf(node)
  for (const key of path) {
    if (isAlias(node)) node = node.resolve(document)
    if (isMap(node)) {
      const pair = node.items.find(
        (item) => String(isScalar(item.key) ? item.key.value : item.key) === String(key),
      )
      if (!pair) return offset
      offset = startOf(pair.key) ?? offset
      node = pair.value
    } else if (isSeq(node) && typeof key === 'number') {
      const item = node.items[key]
      if (item === undefined) return offset
      offset = startOf(item) ?? offset
      node = item
    } else return offset
  }
  return offset
}
