import type { ManifestFile } from '#policy/index.ts'
import { readFiles, readRoots } from '../standalone/read-files.ts'
import type { Io } from './command.ts'

/**
 * The manifests that `paths` name: what `redoubt up` would read of them, and standard input for `-`.
 *
 * @throws {DeployError} `DEPLOY_MANIFESTS_INVALID` if a path is not there
 */
export async function readManifestFiles(
  io: Pick<Io, 'cwd' | 'readStdin'>,
  paths: readonly string[],
): Promise<readonly ManifestFile[]> {
  const piped = paths.includes('-') ? [{ path: '-', text: await io.readStdin() }] : []
  const named = paths.filter((path) => path !== '-')
  return [...piped, ...(await readFiles(await readRoots(named, io.cwd), io.cwd))]
}
