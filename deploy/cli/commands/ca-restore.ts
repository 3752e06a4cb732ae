import { mkdir, readdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'

import { restoreState } from '#ca/index.ts'
import { DeployError } from '../../error.ts'
import { noteLedger } from '../../standalone/ledger-file.ts'
import { lockOwner } from '../../standalone/lock.ts'
import { readPassphrase } from '../../standalone/read-passphrase.ts'
import { stateDirOf } from '../../standalone/state-dir.ts'
import { type Command, textOption } from '../command.ts'
import { givenLedger, SHARED_LEDGER_OPTIONS } from '../ledger-options.ts'
import { OUTPUT_OPTION, outputFormat, print } from '../output.ts'
import { STATE_OPTION } from '../state-option.ts'

/** `redoubt ca restore`: the CA of a backup, whose log goes on under a new key. */
export const caRestore: Command = {
  name: 'ca restore',
  summary: 'put the CA of a backup in an empty state or database; its log goes on under a new key',
  arguments: [{ name: 'FILE', summary: 'what ca backup wrote', required: true }],
  options: [
    {
      flags: '--passphrase-file <file>',
      summary: 'its first line opens the backup',
      required: true,
    },
    {
      flags: '--key-passphrase-file <file>',
      summary: "opens the CA's keys, if the Mesh has them encrypted",
    },
    STATE_OPTION,
    ...SHARED_LEDGER_OPTIONS,
    OUTPUT_OPTION,
  ],
  examples: [
    {
      what: 'On a new machine, before the mesh is started',
      command: 'redoubt ca restore ca-monday.backup --passphrase-file passphrase',
    },
    {
      what: 'In an empty database, for several CAs',
      command:
        'redoubt ca restore ca-monday.backup --passphrase-file passphrase --ledger postgres://redoubt@db.example/ledger --ledger-passphrase-file ledger-passphrase',
    },
  ],
  async run(io, input) {
    const from = resolve(io.cwd, input.arguments[0] ?? '')
    const file = resolve(io.cwd, textOption(input, 'passphraseFile') ?? '')
    const passphrase = await readPassphrase(file)
    const keyFile = textOption(input, 'keyPassphraseFile')
    const keyPassphrase = keyFile === undefined ? undefined : { file: resolve(io.cwd, keyFile) }
    const state = stateDirOf(textOption(input, 'state'), io.env, io.cwd)
    if (await lockOwner(state)) {
      throw new DeployError(
        'DEPLOY_STATE_IN_USE',
        `Cannot restore a CA in ${state}: a mesh runs on it; stop it first`,
      )
    }
    await mkdir(state, { recursive: true, mode: 0o700 })
    const ledger = givenLedger(io, input)
    const shared = ledger && { ledger, env: io.env }
    await assertNoReplicas(state)
    const by = `uid:${io.uid}`
    const stateDir = join(state, 'ca')
    const { last, head } = await restoreState({
      from,
      stateDir,
      passphrase,
      keyPassphrase,
      by,
      shared,
      now: io.now,
    })
    await noteLedger(state, ledger)
    const place = ledger ? 'the database' : stateDir
    print(io, outputFormat(input), { stateDir, last, head }, () => [
      `${place} is the CA of ${last.log} as it was at ${last.time}, with ${last.size} entries`,
      `its log goes on under the key ${head.keyId.slice(0, 16)} (before: ${last.keyId.slice(0, 16)})`,
      'What the CA issued, denied or let in after that is not known here. Agents join anew; see that',
      'the CA that the backup is of never runs again, and deny again what it had denied since.',
    ])
    return 0
  },
}

/** What a replica saw last is of a log that ends with the restore: it would refuse to go on. */
async function assertNoReplicas(state: string): Promise<void> {
  const [replica] = (await readdir(state)).filter((name) => /^ca-\d+$/.test(name))
  if (replica === undefined) return
  throw new DeployError(
    'DEPLOY_STATE_UNUSABLE',
    `Cannot restore a CA in ${state}: ${replica} of a replica is there, expected none; move it away`,
  )
}
