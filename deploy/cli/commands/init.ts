import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'

import { DeployError } from '../../error.ts'
import { INIT_FILES } from '../../standalone/init-files.ts'
import type { Command } from '../command.ts'

/** `redoubt init DIR`: the newcomer's own mesh. */
export const init: Command = {
  name: 'init',
  summary: 'write a minimal mesh, deny by default, to put your own commands into',
  arguments: [{ name: 'DIR', summary: 'a new or empty directory', required: true }],
  examples: [
    { what: 'Write one and start it', command: 'redoubt init mesh && redoubt up -f mesh' },
    { what: 'Look at it first', command: 'redoubt init mesh && redoubt validate -f mesh' },
  ],
  async run(io, { arguments: [given = ''] }) {
    const folder = resolve(io.cwd, given)
    const there = await readdir(folder).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') return []
      throw unusable(given, cause.code === 'ENOTDIR' ? 'it is a file' : cause.message)
    })
    if (there.length > 0) throw unusable(given, 'it is not empty')
    await mkdir(folder, { recursive: true }).catch((cause: NodeJS.ErrnoException) => {
      throw unusable(given, cause.message)
    })
    for (const { name, text } of INIT_FILES) {
      await writeFile(join(folder, name), text, { flag: 'wx' })
      io.out(relative(io.cwd, join(folder, name)))
    }
    io.out('')
    io.out(`Put your commands into ${join(given, 'workloads.yaml')}, then: redoubt up -f ${given}`)
    return 0
  },
}

function unusable(folder: string, why: string): DeployError {
  return new DeployError('DEPLOY_USAGE', `Cannot write a mesh into ${folder}: ${why}`)
}
