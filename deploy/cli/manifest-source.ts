/** Where questions about policy get their manifests from: files, or the mesh that runs. */
import type { ManifestFile } from '#policy/index.ts'
import { DeployError } from '../error.ts'
import type { InForce } from '../standalone/in-force.ts'
import { stateDirOf } from '../standalone/state-dir.ts'
import { type CommandOption, type Input, type Io, listOption, textOption } from './command.ts'
import { readManifestFiles } from './manifest-files.ts'

export const FILE_OPTION: CommandOption = {
  flags: '-f, --file <path>',
  summary: 'manifests: file, directory, or - (default: those in force in the running mesh)',
  repeat: true,
}

/**
 * The manifests that `-f` names, else those in force in the mesh of `--state`.
 *
 * @throws {DeployError} `DEPLOY_MANIFESTS_INVALID` if a path is not there, `DEPLOY_USAGE` if there are neither
 */
export async function readSource(
  io: Io,
  input: Input,
  signal: AbortSignal,
): Promise<readonly ManifestFile[]> {
  const paths = listOption(input, 'file')
  return paths.length > 0 ? readManifestFiles(io, paths) : readLive(io, input, signal)
}

/** The manifests in force; what a reader of the answer should know of the mesh goes to standard error. */
export async function readLive(
  io: Io,
  input: Input,
  signal: AbortSignal,
): Promise<readonly ManifestFile[]> {
  const live = await askLive(io, input, signal)
  if (live === undefined) {
    const state = stateDirOf(textOption(input, 'state'), io.env, io.cwd)
    const wanted = `expected -f PATH, or a mesh that runs (none does on ${state}; --state DIR names another)`
    throw new DeployError('DEPLOY_USAGE', `Cannot decide without manifests: ${wanted}`)
  }
  const { files, faulty, away, behind } = live
  const notes = [
    [faulty, 'an older text is in force, for the newest has a fault, of'],
    [behind, 'the newest configuration is not applied yet by'],
    [away, 'these do not serve now:'],
  ] as const
  for (const [list, what] of notes) if (list.length > 0) io.err(`note: ${what} ${list.join(', ')}`)
  return files
}

/** `undefined`: no mesh runs there. */
export async function askLive(
  io: Io,
  input: Input,
  signal: AbortSignal,
): Promise<InForce | undefined> {
  const state = stateDirOf(textOption(input, 'state'), io.env, io.cwd)
  // An HTTP client takes longer to load than most answers from files take.
  const { askMesh } = await import('../standalone/admin-client.ts')
  try {
    return (await askMesh(state, '/manifests', io, signal)) as InForce
  } catch (cause) {
    if (cause instanceof DeployError && cause.code === 'DEPLOY_MESH_NOT_FOUND') return undefined
    throw cause
  }
}
