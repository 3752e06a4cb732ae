/**
 * Which text of each file is in force: its newest without a fault. Pure. A field that is valid and
 * not carried out is a fault here: a mesh never runs with less than what was written.
 *
 * A file with a fault keeps its last good text *as a whole*: half of a file in force would be a
 * state that nobody wrote.
 */
import type { DocumentReport, Intent } from '#policy/index.ts'
import type { SourceFile } from './messages.ts'

export interface Reading {
  /** In force. */
  readonly files: readonly SourceFile[]
  readonly intent: Intent
  /** Of what was read, good or not. */
  readonly documents: readonly DocumentReport[]
  /** Those of `documents` that are invalid or have something unsupported. */
  readonly faulty: readonly DocumentReport[]
}

/** As `readManifests` of policy does. */
export type Read = (files: readonly SourceFile[]) => {
  readonly intent: Intent
  readonly documents: readonly DocumentReport[]
}

/** @param before - What was in force; empty at the start. */
export function keepLastGood(
  candidates: readonly SourceFile[],
  before: readonly SourceFile[],
  read: Read,
): Reading {
  const good = new Map(before.map((file) => [file.path, file]))
  const newest = read(candidates)
  let files = candidates
  let result = newest
  // Putting one file back can make a document of another invalid (two of one name), so: until none is.
  for (let faulty = invalid(result); faulty.length > 0; faulty = invalid(result)) {
    const bad = new Set(faulty.map(({ file }) => file))
    files = files.flatMap((file) => {
      if (!bad.has(file.path)) return [file]
      const old = good.get(file.path)
      return old && old.text !== file.text ? [old] : []
    })
    result = read(files)
  }
  return {
    files,
    intent: result.intent,
    documents: newest.documents,
    faulty: invalid(newest),
  }
}

function invalid({ documents }: { readonly documents: readonly DocumentReport[] }) {
  return documents.filter(({ valid, unsupported }) => !valid || unsupported.length > 0)
}

/** One fault of one document, as a line for people. */
export function faultLines(document: DocumentReport): readonly string[] {
  const { file, line, kind, name, errors, unsupported } = document
  const where = kind === '' ? '' : ` ${kind} ${name}`
  return [...errors, ...unsupported].map((error) => {
    const pointer = error.pointer === '' ? '' : ` at ${error.pointer}`
    const hint = error.hint === undefined ? '' : ` (${error.hint})`
    return `${file}:${error.line || line}:${where}${pointer}: ${error.message}${hint}`
  })
}
