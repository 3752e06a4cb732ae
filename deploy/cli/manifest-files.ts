import type { ManifestFile } from '#policy/index.ts'
import { foldersLeftOut, readFiles, readRoots } from '../standalone/read-files.ts'
import type { Io } from './command.ts'

/**
 * The manifests that `paths` name: what `redoubt up` would read of them, and standard input for `-`. Folders
 * in folders are left to whoever names them, as kubectl has it; which ones, standard error says.
 *
 * @throws {DeployError} `DEPLOY_MANIFESTS_INVALID` if a path is not there
 */
export async function readManifestFiles(
  io: Pick<Io, 'cwd' | 'readStdin' | 'err'>,
  paths: readonly string[],
): Promise<readonly ManifestFile[]> {
  const piped = paths.includes('-') ? [{ path: '-', text: await io.readStdin() }] : []
  const named = paths.filter((path) => path !== '-')
  const roots = await readRoots(named, io.cwd)
  for (const folder of await foldersLeftOut(roots, io.cwd))
    io.err(`redoubt: did not read ${folder}, a folder in a folder: name it too, where it is meant`)
  return [...piped, ...(await readFiles(roots, io.cwd))]
}
