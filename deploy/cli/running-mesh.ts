import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** A workload of a mesh that runs, as the ready line of `redoubt up` tells it. */
export interface RunningWorkload {
  readonly namespace: string
  readonly name: string
  readonly spiffeId: string
  /** Address of the sidecar by workload port; empty without a sidecar. */
  readonly inbound: Readonly<Record<string, string>>
  /** Address of the sidecar's admin port; left out without a sidecar. */
  readonly admin?: string
}

/** As much of `mesh.json` as commands look at. */
export interface RunningMesh {
  readonly trustDomain: string
  readonly ca: {
    readonly bundle: string
    /** With the keys that verify JWT-SVIDs; left out by a mesh of an older version. */
    readonly document?: string
  }
  readonly workloads: readonly RunningWorkload[]
}

/** The mesh that runs, or last ran, in `stateDir`; `undefined` if none ever did. */
export async function readRunningMesh(stateDir: string): Promise<RunningMesh | undefined> {
  try {
    return JSON.parse(await readFile(join(stateDir, 'mesh.json'), 'utf8')) as RunningMesh
  } catch (cause) {
    if (cause instanceof SyntaxError) return undefined // being written
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    if ((cause as NodeJS.ErrnoException).code === 'ENOTDIR') return undefined
    throw cause
  }
}
