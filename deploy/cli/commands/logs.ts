import { open, readdir, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'

import { DeployError } from '../../error.ts'
import { stateDirOf } from '../../standalone/state-dir.ts'
import { type Command, flagOption, type Io, textOption } from '../command.ts'
import { STATE_OPTION } from '../state-option.ts'

/** `redoubt logs`: what processes wrote, of one workload or of the mesh's own. */
export const logs: Command = {
  name: 'logs',
  summary: 'print logs: of one workload (app, sidecar, access), or of the whole mesh',
  arguments: [
    { name: 'WORKLOAD', summary: 'namespace/name, or ca (ca-2, …), agent, policy, supervisor' },
  ],
  options: [
    { flags: '-n, --lines <n>', summary: 'the newest lines of each log', default: '50' },
    { flags: '-f, --follow', summary: 'go on with what is written' },
    { flags: '--app', summary: 'only what the app wrote' },
    { flags: '--access', summary: 'only the access log: one JSON line a request' },
    STATE_OPTION,
  ],
  examples: [
    { what: 'What the canary and its sidecar say', command: 'redoubt logs qotm/qotm-v2' },
    {
      what: 'Follow every request to the database, with the policy that decided',
      command: 'redoubt logs qotm/quotes-db --access --follow',
    },
  ],
  async run(io, input, signal) {
    const [workload] = input.arguments
    const folder = join(stateDirOf(textOption(input, 'state'), io.env, io.cwd), 'logs')
    const names = await readdir(folder).catch(() => {
      throw new DeployError(
        'DEPLOY_MESH_NOT_FOUND',
        `Cannot read logs: there are none in ${folder}`,
      )
    })
    const only = flagOption(input, 'app') ? 'app' : flagOption(input, 'access') ? 'access' : ''
    const wanted = names.filter((name) => isWanted(name, workload, only)).sort()
    if (wanted.length === 0) throw notFound(workload, names)
    await io.clock.sleep(SETTLE_MS, signal).catch(() => {}) // What is there is printed all the same.
    const lines = Number(textOption(input, 'lines') ?? 50)
    const tails = wanted.map((name) => createTail(join(folder, name), io, wanted.length > 1))
    for (const tail of tails) await tail.last(lines)
    while (flagOption(input, 'follow') && !signal.aborted) {
      await io.clock.sleep(FOLLOW_MS, signal).catch(() => {}) // The loop's condition ends it.
      for (const tail of tails) await tail.more()
    }
    return 0
  },
}

const FOLLOW_MS = 200

/** A sidecar keeps a line of its access log for up to 100 ms: one asks for what one has just done. */
const SETTLE_MS = 200

/** Bytes that the newest lines are looked for in. */
const TAIL_BYTES = 1024 * 1024

function isWanted(file: string, workload: string | undefined, only: string): boolean {
  if (!file.endsWith('.log')) return false
  if (only !== '' && !file.endsWith(`.${only}.log`)) return false
  if (workload === undefined) return only !== '' || !file.endsWith('.access.log')
  const stem = workload.replace('/', '.')
  return file === `${stem}.log` || /^\.(app|sidecar|access)\.log$/.test(file.slice(stem.length))
    ? file.startsWith(stem)
    : false
}

function notFound(workload: string | undefined, names: readonly string[]): DeployError {
  const known = names
    .filter((name) => name.endsWith('.sidecar.log'))
    .map((name) => name.replace('.sidecar.log', '').replace('.', '/'))
  return new DeployError(
    'DEPLOY_USAGE',
    `Cannot find logs of ${workload ?? 'that kind'}: there are ${known.join(', ')}, ca, agent, policy, supervisor`,
  )
}

interface Tail {
  readonly last: (lines: number) => Promise<void>
  /** What was written since. */
  readonly more: () => Promise<void>
}

function createTail(file: string, io: Io, labelled: boolean): Tail {
  const label = labelled ? `${basename(file, '.log')}: ` : ''
  let at = 0
  let rest = ''
  const read = async (from: number, to: number): Promise<string> => {
    await using handle = await open(file)
    const { buffer, bytesRead } = await handle.read({
      buffer: Buffer.alloc(to - from),
      position: from,
    })
    return buffer.toString('utf8', 0, bytesRead)
  }
  const show = (lines: readonly string[]): void => {
    for (const line of lines) io.out(`${label}${line}`)
  }
  return {
    async last(lines) {
      const { size } = await stat(file)
      at = size
      const text = await read(Math.max(0, size - TAIL_BYTES), size)
      const found = text.split('\n')
      rest = found.pop() ?? ''
      show(lines > 0 ? found.slice(-lines) : [])
    },
    async more() {
      const { size } = await stat(file)
      if (size < at) at = 0 // It was cut to keep it small.
      if (size === at) return
      const found = (rest + (await read(at, size))).split('\n')
      at = size
      rest = found.pop() ?? ''
      show(found)
    },
  }
}
