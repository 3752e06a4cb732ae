/** A real mesh whose root is rotated by command, under load that never retries. */
import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { ask, startMesh, startRedoubt, temporary } from './mesh.ts'

export interface RotationRun {
  /** Requests that were answered with 200. */
  readonly answered: number
  /** What became of the others. */
  readonly lost: readonly string[]
  /** Certificates that came into force, by workload. */
  readonly rotations: Readonly<Record<string, number>>
  /** Exit code and standard output of each command. */
  readonly commands: readonly (readonly [command: string, code: number | string, out: string])[]
  /** PEM of the trust bundle before and after. */
  readonly bundles: readonly [string, string]
}

/** The sample that meshes of tests run. */
export const SAMPLE: string = join(import.meta.dirname, '../../deploy/samples/qotm')
const COMMANDS = ['start', 'promote', 'finish'] as const

/**
 * Starts the sample with leaves of `leafTtl`, calls it from `callers` without a pause, rotates its root,
 * and goes on for the rest of `seconds`.
 */
export async function rotateUnderLoad({
  leafTtl,
  callers,
  seconds,
}: {
  readonly leafTtl: string
  readonly callers: number
  readonly seconds: number
}): Promise<RotationRun> {
  await using folder = await temporary()
  const sample = join(folder.path, 'qotm')
  const state = join(folder.path, 'state')
  await cp(SAMPLE, sample, { recursive: true })
  const text = await readFile(join(sample, 'mesh.yaml'), 'utf8')
  await writeFile(join(sample, 'mesh.yaml'), text.replace('leafTtl: 16s', `leafTtl: ${leafTtl}`))
  await using mesh = await startMesh(['-f', sample, '--state', state])
  const bundle = () => readFile(mesh.ready.ca.bundle, 'utf8')
  const before = await bundle()
  const endMs = performance.now() + seconds * 1000

  const outbound = mesh.workload('edge').outbound ?? ''
  const load = startCallers(callers, outbound)
  const commands: [string, number | string, string][] = []
  for (const step of COMMANDS) {
    const wait = ['--wait', '120s', '--output', 'json']
    const { exited, out } = startRedoubt(['ca', 'rotate', step, '--state', state, ...wait])
    commands.push([step, await exited, out.join('\n')])
  }
  while (performance.now() < endMs) await sleep(100)
  const { answered, lost } = await load.end()
  const rotated = mesh.events().filter(({ event }) => event === 'rotated')
  const rotations = Object.groupBy(rotated, ({ workload = '' }) => workload)
  return {
    answered,
    lost,
    rotations: Object.fromEntries(
      Object.entries(rotations).map(([name, events = []]) => [name, events.length]),
    ),
    commands,
    bundles: [before, await bundle()],
  }
}

/** Callers that never retry. */
export function startCallers(
  callers: number,
  outbound: string,
): { readonly end: () => Promise<{ answered: number; lost: readonly string[] }> } {
  const ending = new AbortController()
  const lost: string[] = []
  let answered = 0
  const call = async (): Promise<void> => {
    while (!ending.signal.aborted) {
      try {
        const { status, body } = await ask(outbound, { path: '/quote', headers: { host: 'qotm' } })
        if (status === 200) answered += 1
        else lost.push(`${status} ${body.slice(0, 200)}`)
      } catch (cause) {
        lost.push(String(cause))
      }
      await sleep(5)
    }
  }
  const running = Array.from({ length: callers }, call)
  return {
    async end() {
      ending.abort()
      await Promise.all(running)
      return { answered, lost }
    },
  }
}
