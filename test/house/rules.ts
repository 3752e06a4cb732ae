/** The conventions that are programs. Each rule takes source and gives findings, `file:line what`. */
import { builtinModules } from 'node:module'
import { posix } from 'node:path'

import type { AnyNode } from 'acorn'

import { lineOf, type Source, walk } from './source.ts'

/** What each layer may import besides itself, `#core/*` and packages. The list is the architecture. */
const MAY_IMPORT: Readonly<Record<string, RegExp>> = {
  'ca/core': /^$/,
  ca: /^$/,
  policy: /^#ca\/spiffe\//,
  agent: /^#ca\/(spiffe|x509|jwt|proto)\//,
  proxy: /^#(ca\/(spiffe|x509|jwt)|policy\/(model|casbin|proto)|agent\/(client|proto))\//,
  deploy: /^#(ca|policy|agent|proxy)\//,
}

/** Folders that compute and do nothing else: no sockets, files, timers or environment. */
export const PURE: RegExp =
  /^(ca\/(core|spiffe|x509|log)|policy\/(model|dialects|evaluate|casbin|compare|analyze|publish)|proxy\/(http|http2|resilience))\//

/** What they may still have of Node. `ca/core` may not have even this. */
const COMPUTES = /^node:(buffer|crypto|util)$/

/**
 * Packages that have one place, and why: who loads them pays for them, and what handles keys or
 * bytes of strangers is to be found in one folder.
 */
const PACKAGE_HOMES: Readonly<Record<string, RegExp>> = {
  '@peculiar/x509': /^ca\/inspect\//,
  'reflect-metadata': /^ca\/inspect\//,
  'node-forge': /^ca\/inspect\//,
  kysely: /^ca\//,
  'node:sqlite': /^ca\//,
  casbin: /^policy\/casbin\//,
  jose: /^ca\/jwt\//,
  commander: /^deploy\/cli\//,
  'cli-table3': /^deploy\//,
  'log-update': /^deploy\//,
  pino: /^deploy\//,
  yaml: /^(policy\/dialects|policy\/publish|deploy)\//,
  zod: /^(policy\/dialects|policy\/publish|deploy)\//,
}

/** Folders that every sidecar loads, and that read what strangers send: no packages at all. */
const NO_PACKAGES = /^(ca\/(core|spiffe|x509)|proxy\/(http|http2|resilience))\//

/** Where each import leads, held against the table. `dependencies` are the packages we may have. */
export function boundaryFindings(source: Source, dependencies: ReadonlySet<string>): string[] {
  const { path, imports } = source
  return imports.flatMap(({ specifier, line, isSideEffect }) => {
    const why =
      specifierFault(path, specifier, dependencies) ??
      (isSideEffect && PURE.test(path) ? 'a pure file imports for no side effect' : undefined)
    return why ? [`${path}:${line} imports ${specifier}: ${why}`] : []
  })
}

function specifierFault(
  path: string,
  specifier: string,
  dependencies: ReadonlySet<string>,
): string | undefined {
  if (specifier.startsWith('.')) return relativeFault(path, specifier)
  if (specifier.startsWith('#')) return crossingFault(path, specifier)
  if (specifier.startsWith('node:')) return builtinFault(path, specifier)
  return packageFault(path, specifier, dependencies)
}

function relativeFault(path: string, specifier: string): string | undefined {
  const target = posix.join(posix.dirname(path), specifier)
  if (layerOf(target) !== layerOf(path))
    return `it climbs out of ${layerOf(path)}, expected a # import`
  return /\.(ts|json)$/.test(specifier) ? undefined : 'a file is imported with its extension'
}

function crossingFault(path: string, specifier: string): string | undefined {
  if (specifier.startsWith('#core/')) return undefined
  const layer = layerOf(path)
  if (!MAY_IMPORT[layer]?.test(specifier)) return `${layer} may not import it`
  return /\/index\.ts$|\/gen\//.test(specifier)
    ? undefined
    : 'another folder is entered by its index'
}

function builtinFault(path: string, specifier: string): string | undefined {
  if (path.startsWith('ca/core/')) return 'the kernel imports nothing'
  if (PURE.test(path) && !COMPUTES.test(specifier)) return 'a pure folder computes and does nothing'
  return homeFault(path, specifier)
}

function packageFault(
  path: string,
  specifier: string,
  dependencies: ReadonlySet<string>,
): string | undefined {
  const name = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
  if (builtinModules.includes(name)) return `expected node:${specifier}`
  if (NO_PACKAGES.test(path)) return 'this folder has no packages'
  return dependencies.has(name) ? homeFault(path, name) : 'it is not among our dependencies'
}

function homeFault(path: string, name: string): string | undefined {
  const home = PACKAGE_HOMES[name]
  return home && !home.test(path) ? `its place is ${home.source}` : undefined
}

function layerOf(path: string): string {
  return path.startsWith('ca/core/') ? 'ca/core' : path.slice(0, path.indexOf('/'))
}

/** Globals, and members of globals, by which a function could learn or do more than it was told. */
const EFFECTS = new Set([
  'process',
  'console',
  'fetch',
  'performance',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'WebSocket',
  'Math.random',
  'Date.now',
  'Temporal.Now',
  'AbortSignal.timeout',
  'crypto.getRandomValues',
  'crypto.randomUUID',
  'new Date',
])

/** What `node:crypto` has that draws instead of computing. */
const DRAWS = /^(random(Bytes|UUID|Int|Fill|FillSync)|getRandomValues|generateKey(Pair)?(Sync)?)$/

/** Effects in a pure file: whatever would make two calls with equal arguments differ. */
export function purityFindings({ path, nodes }: Source): string[] {
  return nodes.flatMap((node) => {
    const effect = effectOf(node)
    return effect
      ? [`${path}:${lineOf(node)} uses ${effect}: a pure file takes it as an argument`]
      : []
  })
}

const FUNCTION = /^(FunctionDeclaration|FunctionExpression|ArrowFunctionExpression)$/

function effectOf(node: AnyNode): string | undefined {
  if (node.type === 'ImportExpression') return 'import()'
  if (node.type === 'ImportSpecifier' && node.imported.type === 'Identifier') {
    return DRAWS.test(node.imported.name) ? node.imported.name : undefined
  }
  const name = globalName(node)
  return name !== undefined && EFFECTS.has(name) ? name : undefined
}

function globalName(node: AnyNode): string | undefined {
  if (node.type === 'CallExpression' || node.type === 'NewExpression') {
    if (node.callee.type !== 'Identifier') return undefined
    const { name } = node.callee
    return name === 'Date' && node.arguments.length === 0 ? 'new Date' : name
  }
  if (node.type !== 'MemberExpression' || node.object.type !== 'Identifier') return undefined
  const { name } = node.object
  if (name === 'process' || name === 'console' || name === 'performance') return name
  return node.property.type === 'Identifier' ? `${name}.${node.property.name}` : undefined
}

/** Uses of `process` (and of `node:process`), whose places are the entry points. */
export function processFindings({ path, nodes, imports }: Source): string[] {
  const own = nodes.filter(bindsProcess)
  const uses = nodes.filter(
    (node) =>
      globalName(node) === 'process' &&
      !own.some(({ start, end }) => start <= node.start && node.end <= end),
  )
  const module = imports.filter(({ specifier }) => specifier === 'node:process')
  return [...uses.map(lineOf), ...module.map(({ line }) => line)].map(
    (line) => `${path}:${line} touches the process: expected an argument from the entry point`,
  )
}

/** Whether `node` is a function or block with something of its own by that name, a child process say. */
function bindsProcess(node: AnyNode): boolean {
  if (FUNCTION.test(node.type) && 'params' in node) return node.params.some(namesProcess)
  if (node.type !== 'BlockStatement' && node.type !== 'ForOfStatement') return false
  const declared = node.type === 'ForOfStatement' ? [node.left] : node.body
  return declared.some(
    (one) =>
      one.type === 'VariableDeclaration' && one.declarations.some(({ id }) => namesProcess(id)),
  )
}

function namesProcess(pattern: AnyNode): boolean {
  return [...walk(pattern)].some((node) => node.type === 'Identifier' && node.name === 'process')
}

/** Cycles among imports that are still there when the program runs, each as `a → b → a`. */
export function importCycles(sources: readonly Source[]): string[] {
  const targets = new Map(sources.map((source) => [source.path, valueTargets(source)]))
  const done = new Set<string>()
  const cycles: string[] = []
  const visit = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path)
    if (at !== -1) cycles.push([...trail.slice(at), path].join(' → '))
    if (at !== -1 || done.has(path)) return
    for (const target of targets.get(path) ?? []) visit(target, [...trail, path])
    done.add(path)
  }
  for (const path of targets.keys()) visit(path, [])
  return cycles
}

function valueTargets({ path, imports }: Source): string[] {
  return imports
    .filter(({ isValue, specifier }) => isValue && /^[.#]/.test(specifier))
    .map(({ specifier }) => resolveImport(path, specifier))
}

/** The file that `specifier` means in `path`; the table in package.json's `imports`, as code. */
export function resolveImport(path: string, specifier: string): string {
  if (specifier.startsWith('#core/')) return specifier.replace('#core/', 'ca/core/')
  if (specifier.startsWith('#')) return specifier.slice(1)
  return posix.join(posix.dirname(path), specifier)
}

/** Lines above which a file says in its header why it is long. */
export const LONG_FILE = 300

/** Lines above which a function is two. */
export const LONG_FUNCTION = 50

/** A file is long only when its header says `Long because …`. */
export function fileLengthFindings({ path, text }: Source): string[] {
  const lines = text.split('\n').length - 1
  const header = /^(?:#!.*\n)?\/\*\*[\s\S]*?\*\//.exec(text)?.[0] ?? ''
  if (lines <= LONG_FILE || header.includes('Long because ')) return []
  return [
    `${path} has ${lines} lines: expected at most ${LONG_FILE}, or "Long because …" in its header`,
  ]
}

/**
 * Lines of each function, its signature and braces included, without those of functions inside
 * it: a closure that remembers is long as a class is long, and its parts are counted themselves.
 */
export function functionLengths({
  nodes,
}: Source): { readonly line: number; readonly lines: number }[] {
  const spans = nodes.filter(({ type }) => FUNCTION.test(type)).map(spanOf)
  return spans.map((span) => {
    const inside = spans.filter((other) => other.start > span.start && other.end <= span.end)
    const direct = inside.filter(
      (one) => !inside.some((outer) => outer.start < one.start && one.end <= outer.end),
    )
    const theirs = direct.reduce((sum, one) => sum + Math.max(0, one.lastLine - one.line - 1), 0)
    return { line: span.line, lines: span.lastLine - span.line + 1 - theirs }
  })
}

function spanOf(node: AnyNode): {
  readonly start: number
  readonly end: number
  readonly line: number
  readonly lastLine: number
} {
  return {
    start: node.start,
    end: node.end,
    line: lineOf(node),
    lastLine: node.loc?.end.line ?? 0,
  }
}

/** Functions that are two. */
export function functionLengthFindings(source: Source): string[] {
  return functionLengths(source)
    .filter(({ lines }) => lines > LONG_FUNCTION)
    .map(
      ({ line, lines }) =>
        `${source.path}:${line} has a function of ${lines} lines: expected at most ${LONG_FUNCTION}`,
    )
}

/** Whatever in an `index.ts` is not a named re-export. */
export function indexFindings({ path, nodes }: Source): string[] {
  const [program] = nodes
  if (!path.endsWith('/index.ts') || program?.type !== 'Program') return []
  return program.body
    .filter((node) => node.type !== 'ExportNamedDeclaration' || !node.source)
    .map(
      (node) => `${path}:${lineOf(node)} is not a named re-export: an index is a table of contents`,
    )
}

const REEXPORT = /^export \{([^}]*)\} from '([^']+)'/gm

/**
 * Functions, classes and constants that leave a folder through its `index.ts`, or are the kernel's,
 * without a doc comment. Types are left to judgement: a name and its fields may say all there is.
 */
export function documentationFindings(sources: readonly Source[]): string[] {
  const byPath = new Map(sources.map((source) => [source.path, source]))
  return sources.flatMap((source) => {
    if (source.path.startsWith('ca/core/')) return undocumented(source, () => true)
    if (!source.path.endsWith('/index.ts')) return []
    return [...source.text.matchAll(REEXPORT)].flatMap(([, names = '', from = '']) => {
      const listed = names.split(',').map((name) => name.trim().replace(/ as .*/, ''))
      const target = byPath.get(resolveImport(source.path, from))
      return target ? undocumented(target, (name) => listed.includes(name)) : []
    })
  })
}

const DECLARED = /^export (?:async )?(?:function\*?|class|const) (\w+)/gm

function undocumented({ path, text }: Source, isPromised: (name: string) => boolean): string[] {
  return [...text.matchAll(DECLARED)]
    .filter(({ 1: name = '', index }) => isPromised(name) && !text.slice(0, index).endsWith('*/\n'))
    .map(({ 1: name, index }) => {
      const line = text.slice(0, index).split('\n').length
      return `${path}:${line} exports ${name} to other folders: expected a doc comment`
    })
}
