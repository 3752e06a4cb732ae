/** Where `authz learn` and `authz rollout` get their evidence: files, or the logs of the running mesh. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'

import { type Observed, readAccessLog } from '#policy/observed/index.ts'
import { DeployError } from '../error.ts'
import { stateDirOf } from '../standalone/state-dir.ts'
import { type CommandOption, type Input, type Io, listOption, textOption } from './command.ts'
import { parseDuration } from './duration.ts'
import { readText } from './read-text.ts'
import { STATE_OPTION } from './state-option.ts'

/** Flags of the commands that read what was observed. */
export const OBSERVED_OPTIONS: readonly CommandOption[] = [
  {
    flags: '--log <file>',
    summary: 'an access log; - for standard input (default: those of the running mesh)',
    repeat: true,
  },
  { flags: '--since <duration>', summary: 'only what is not older, e.g. 1h' },
  STATE_OPTION,
]

/** A sidecar keeps a line of its access log for up to 100 ms. */
const SETTLE_MS = 200

/**
 * Reads the access logs that `--log` names, else those of the mesh in `--state`.
 *
 * @throws {DeployError} `DEPLOY_MESH_NOT_FOUND`, `DEPLOY_USAGE`
 */
export function readObserved(io: Io, input: Input, signal: AbortSignal): Promise<Observed> {
  return readLogs(io, input, { sources: listOption(input, 'log') }, signal)
}

/** Reads the access logs of `sources`, without any those of the mesh in `--state`; `--since` is heeded. */
export async function readLogs(
  io: Io,
  input: Input,
  { sources, undecided = false }: { sources: readonly string[]; undecided?: boolean },
  signal: AbortSignal,
): Promise<Observed> {
  const given = textOption(input, 'since')
  const since =
    given === undefined
      ? undefined
      : io.now().subtract({ milliseconds: Math.round(parseDuration(given)) })
  if (sources.length === 0) await io.clock.sleep(SETTLE_MS, signal)
  const files = sources.length > 0 ? sources : await liveLogs(io, input)
  const texts = await Promise.all(files.map((file) => readText(io, file)))
  return readAccessLog(texts, { since, undecided })
}

/** The access logs of the mesh in `--state`. */
export async function liveLogs(io: Io, input: Input): Promise<readonly string[]> {
  const folder = join(stateDirOf(textOption(input, 'state'), io.env, io.cwd), 'logs')
  const names = await readdir(folder).catch(() => [])
  const found = names.filter((name) => /\.access\.log(\.1)?$/.test(name))
  if (found.length > 0) return found.map((name) => join(folder, name))
  throw new DeployError(
    'DEPLOY_MESH_NOT_FOUND',
    `Cannot read access logs: there are none in ${folder}, expected --log FILE or a mesh that runs`,
  )
}
