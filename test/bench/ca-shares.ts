/** Whose the time in a profile of the CA is. */
import type { Profiler } from 'node:inspector'

/** A part of the time that was not idle. */
export interface Share {
  readonly group: string
  readonly us: number
}

const LEDGER = 'ledger: SQLite'

/**
 * Each sample belongs to the first group that one of its frames, the innermost first, is of. A frame is its
 * function's name, a space, and where it stands.
 */
const GROUPS: readonly (readonly [group: string, frame: RegExp])[] = [
  ['floor: reading a key and verifying with it', /^isSigned(By|With) /],
  ['floor: signing', /^sign .*\/ca\/keys\//],
  ['garbage collection', /^\(garbage collector\) /],
  [LEDGER, /\/ca\/issue\/batch-writer\.ts/],
  ['log: leaves, tree and signed head', /\/ca\/(log\/|issue\/transparency)/],
  ['self-check', /\/ca\/issue\/self-check\.ts/],
  ['reading requests, encoding certificates', /\/ca\/(x509|issue)\//],
  ['messages and answers', /\/ca\/(proto|serve)\//],
  ['gRPC: calls, streams and metadata', /@grpc\//],
  ['HTTP/2, TLS, sockets', /node:(internal\/)?(http2|tls|_tls|net|stream|js_stream|events)/],
  ['turns of the loop: promises, timers', /node:internal\/(process|timers|async)/],
]
const NATIVE = 'outside of JavaScript: HTTP/2, TLS and the kernel, mostly'
const OTHER = 'other'
const NOBODY = ''

const NATIVE_FRAMES: Readonly<Record<string, string>> = {
  '(program)': NATIVE,
  '(idle)': NOBODY,
  '(garbage collector)': 'garbage collection',
}

/**
 * µs by group, in the order of the table above. The profiler counts time on the clock: of that, `cpuUs` were
 * CPU, `waitedUs` went by while another had the core (to everybody's cost alike), and what is left is the
 * disk's, which only commits wait for.
 */
export function sharesOf(
  profile: Profiler.Profile,
  { cpuUs, waitedUs }: { readonly cpuUs: number; readonly waitedUs: number },
): readonly Share[] {
  const sums = sumsOf(profile)
  const total = [...sums.values()].reduce((a, b) => a + b, 0)
  const diskUs = Math.max(0, total - cpuUs - waitedUs)
  const ledger = sums.get(LEDGER) ?? 0
  sums.set(LEDGER, Math.max(0, ledger - diskUs))
  const scale = cpuUs / (total - Math.min(ledger, diskUs))
  return [...GROUPS.map(([group]) => group), NATIVE, OTHER].map((group) => ({
    group,
    us: (sums.get(group) ?? 0) * scale,
  }))
}

/** Of all that was not idle, nor the profiler's own. */
function sumsOf({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): Map<string, number> {
  const parents = new Map<number, number>()
  for (const { id, children = [] } of nodes) for (const child of children) parents.set(child, id)
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const groups = new Map<number, string>()
  const groupOf = (id: number): string => {
    const known = groups.get(id)
    if (known !== undefined) return known
    const { functionName = '', url = '' } = byId.get(id)?.callFrame ?? {}
    const parent = parents.get(id)
    const own = NATIVE_FRAMES[functionName] ?? ruleOf(`${functionName} ${url}`)
    const group = own ?? (parent === undefined ? OTHER : groupOf(parent))
    groups.set(id, group)
    return group
  }
  const sums = new Map<string, number>()
  for (const [at, id] of samples.entries()) {
    const group = groupOf(id)
    if (group !== NOBODY) sums.set(group, (sums.get(group) ?? 0) + (timeDeltas[at] ?? 0))
  }
  return sums
}

function ruleOf(frame: string): string | undefined {
  return frame.includes('ca-process.ts') ? NOBODY : GROUPS.find(([, rule]) => rule.test(frame))?.[0]
}
