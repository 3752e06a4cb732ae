/**
 * Divides many lines by the paths they name, so that a request is held against those alone that its
 * path can meet: without it a thousand lines that differ in path cost 1 ms for each path never seen,
 * with it 4 µs (test/bench/authz-decision.bench.ts). Which line matches stays Casbin's answer: each
 * part has an enforcer of its own, made when a request first needs it.
 */
import type { Operation } from '../model/index.ts'
import type { FindMatch } from './enforcer.ts'
import { ANY, type PolicyLine } from './lines.ts'
import { isTemplate } from './template.ts'

/** Fewer lines are held against every request: asking several enforcers would cost more. */
const WORTHWHILE = 16

/** Lines of one part, in order. */
interface Part {
  readonly lines: PolicyLine[]
  find: FindMatch | undefined
}

/** As the enforcer of all `lines`, through one for each part. */
export function createFinder(
  lines: readonly PolicyLine[],
  createEnforcer: (lines: readonly PolicyLine[]) => FindMatch,
): FindMatch {
  if (lines.length < WORTHWHILE) return createEnforcer(lines)
  const parts = new Map<string, Part>()
  let depth = 0
  for (const line of lines) {
    for (const key of pathKeys(line)) {
      const part = parts.get(key) ?? { lines: [], find: undefined }
      part.lines.push(line)
      parts.set(key, part)
      depth = Math.max(depth, slashes(key))
    }
  }
  const order = new Map(lines.map((line, index) => [line, index]))
  return (attempt) => {
    let first: PolicyLine | undefined
    let at = Number.POSITIVE_INFINITY
    for (const key of keysOfPath(attempt.http?.path ?? '', depth)) {
      const part = parts.get(key)
      if (part === undefined) continue
      part.find ??= createEnforcer(part.lines)
      const match = part.find(attempt)
      const index = match && order.get(match)
      if (index === undefined || index >= at) continue
      first = match
      at = index
    }
    return first
  }
}

/** The part of lines that do not say which path they want. No path is called that. */
const EVERYWHERE = '*'

/** Where the paths that a line can meet begin, in whole segments; or the one path that it is. */
function pathKeys({ to }: PolicyLine): ReadonlySet<string> {
  if (to === ANY) return new Set([EVERYWHERE])
  const operations = JSON.parse(to) as readonly Operation[]
  const keys = operations.flatMap(({ paths }) => paths?.map(pathKey) ?? [EVERYWHERE])
  return new Set(keys.includes(EVERYWHERE) ? [EVERYWHERE] : keys)
}

function pathKey(written: string): string {
  const template = isTemplate(written)
  if (written.startsWith('*')) return EVERYWHERE
  if (!template && !written.endsWith('*')) return written
  const literal = template ? written.slice(0, written.indexOf('{')) : written
  const end = literal.lastIndexOf('/')
  return end === -1 ? EVERYWHERE : literal.slice(0, end)
}

/** All keys that a path can be found under. Longer ones than any key has are not made: paths may be long. */
function* keysOfPath(path: string, depth: number): Generator<string, void> {
  yield EVERYWHERE
  let at = path.indexOf('/')
  for (let level = 0; at !== -1 && level <= depth; level += 1) {
    yield path.slice(0, at)
    at = path.indexOf('/', at + 1)
  }
  yield path
}

function slashes(key: string): number {
  return key.split('/').length - 1
}
