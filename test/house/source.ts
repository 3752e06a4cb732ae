/**
 * The project's own source, read for the tests that hold its conventions.
 *
 * Types are blanked out in place by Node itself and what is left is parsed, so that every rule
 * sees what runs, and line numbers stay those of the file.
 */
import { globSync, readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'

import { type AnyNode, type Node, parse } from 'acorn'

/** An `import` or `export … from`, as written. */
export interface Import {
  readonly specifier: string
  readonly line: number
  /** Whether it is still there when the program runs. */
  readonly isValue: boolean
  /** `import './x.ts'`: it is there for what it does, not for what it names. */
  readonly isSideEffect: boolean
}

export interface Source {
  /** From the project's root, with forward slashes. */
  readonly path: string
  readonly text: string
  readonly imports: readonly Import[]
  /** What runs, parents before children. */
  readonly nodes: readonly AnyNode[]
}

/** Source that people wrote, of the five folders; generated code keeps its generator's rules. */
export function readSources(): readonly Source[] {
  return globSync('{ca,policy,agent,proxy,deploy}/**/*.ts')
    .map((path) => path.replaceAll('\\', '/'))
    .filter((path) => !path.includes('/proto/gen/'))
    .sort()
    .map((path) => readSource(path, readFileSync(path, 'utf8')))
}

/** @throws {SyntaxError} if `text` is not TypeScript that can run by type stripping */
export function readSource(path: string, text: string): Source {
  const program = parse(stripTypeScriptTypes(text), {
    ecmaVersion: 'latest',
    sourceType: 'module',
    allowHashBang: true,
    locations: true,
  })
  return { path, text, imports: [...importsOf(text)], nodes: [...walk(program)] }
}

const STATEMENT = /^(?:import|export)\b(\s+type\b)?([^'"`;=(]*?\bfrom\s*)?\s*'([^']+)'/gm

function* importsOf(text: string): Generator<Import> {
  for (const { 1: type, 2: from, 3: specifier = '', index } of text.matchAll(STATEMENT)) {
    const line = text.slice(0, index).split('\n').length
    yield { specifier, line, isValue: type === undefined, isSideEffect: from === undefined }
  }
}

/** `node` and all below it, parents first. */
export function* walk(node: Node): Generator<AnyNode> {
  yield node as AnyNode
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) {
      if (isNode(child)) yield* walk(child)
    }
  }
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value && 'start' in value
}

/** The line a node starts on, from 1. */
export function lineOf(node: Node): number {
  return node.loc?.start.line ?? 0
}
