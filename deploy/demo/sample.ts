/** The demo's own copy of the sample: a file that anybody may edit, and that the next start makes anew. */
import { cp, rm } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ReadyLine } from '../standalone/ready-line.ts'
import type { Hint } from './view.ts'

const SAMPLE = fileURLToPath(new URL('../samples/qotm', import.meta.url))

/** Where the demo's manifests are, for a state directory. */
export function sampleDirOf(stateDir: string): string {
  return join(stateDir, 'qotm')
}

/** Puts a fresh copy of the sample into `directory`. */
export async function copySample(directory: string): Promise<void> {
  await rm(directory, { recursive: true, force: true })
  await cp(SAMPLE, directory, { recursive: true })
}

/** Three commands that work when pasted into another terminal in `cwd`. */
export function hintsFor(
  { workloads }: ReadyLine,
  { cwd, stateDir, standardState }: HintContext,
): readonly Hint[] {
  const edge = workloads.find(({ name }) => name === 'edge')?.outbound ?? ''
  const policy = typed(cwd, join(sampleDirOf(stateDir), 'policy.yaml'))
  const state = standardState ? '' : ` --state ${typed(cwd, stateDir)}`
  return [
    {
      what: "call qotm as edge does, through edge's sidecar",
      command: `curl -s -H 'Host: qotm' http://${edge}/quote`,
    },
    {
      what: 'look at the certificate that a running sidecar shows',
      command: `npx redoubt cert inspect --workload qotm/qotm-v1${state}`,
    },
    {
      what: 'let the intruder read the database; enforced within a second, see "Refused" stop counting',
      command: `sed -i 's#sa/qotm]#sa/qotm, cluster.local/ns/qotm/sa/intruder]#' ${policy}`,
    },
  ]
}

/** A path as somebody in `cwd` would type it. */
function typed(cwd: string, path: string): string {
  const short = relative(cwd, path)
  return short === '' ? '.' : short.startsWith('..') ? path : short
}

export interface HintContext {
  /** Absolute. */
  readonly cwd: string
  /** Absolute. */
  readonly stateDir: string
  /** Whether commands find the state directory without being told. */
  readonly standardState: boolean
}
