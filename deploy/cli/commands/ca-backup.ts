import { join, resolve } from 'node:path'

import { backupLedger, backupState } from '#ca/index.ts'
import { askMesh } from '../../standalone/admin-client.ts'
import { lockOwner } from '../../standalone/lock.ts'
import { readPassphrase } from '../../standalone/read-passphrase.ts'
import { stateDirOf } from '../../standalone/state-dir.ts'
import { type Command, textOption } from '../command.ts'
import { SHARED_LEDGER_OPTIONS, sharedLedger } from '../ledger-options.ts'
import { OUTPUT_OPTION, outputFormat, print } from '../output.ts'
import { STATE_OPTION } from '../state-option.ts'

/** `redoubt ca backup`: keys and ledger in one encrypted file, while the CA runs or when it does not. */
export const caBackup: Command = {
  name: 'ca backup',
  summary: "write the CA's keys and ledger to one encrypted file",
  arguments: [{ name: 'FILE', summary: 'new file to write', required: true }],
  options: [
    {
      flags: '--passphrase-file <file>',
      summary: 'its first line encrypts the backup; 12 characters or more',
      required: true,
    },
    STATE_OPTION,
    ...SHARED_LEDGER_OPTIONS,
    OUTPUT_OPTION,
  ],
  examples: [
    {
      what: 'Back up the CA of the mesh that runs here',
      command: 'redoubt ca backup ca-monday.backup --passphrase-file passphrase',
    },
    {
      what: 'Every night, from a mesh elsewhere on this machine',
      command:
        'redoubt ca backup "backups/ca-$(date +%F)" --passphrase-file passphrase --state mesh/.redoubt',
    },
  ],
  async run(io, input, signal) {
    const to = resolve(io.cwd, input.arguments[0] ?? '')
    const passphraseFile = resolve(io.cwd, textOption(input, 'passphraseFile') ?? '')
    const passphrase = await readPassphrase(passphraseFile)
    const state = stateDirOf(textOption(input, 'state'), io.env, io.cwd)
    const isGiven = textOption(input, 'ledger') !== undefined
    if (!isGiven && (await lockOwner(state))) {
      const query = new URLSearchParams({ to, passphraseFile })
      await askMesh(state, `/ca/backup?${query}`, io, signal)
    } else {
      const shared = await sharedLedger(io, input, state)
      if (shared) await backupLedger(shared, to, passphrase)
      else await backupState(join(state, 'ca'), to, passphrase)
    }
    print(io, outputFormat(input), { file: to }, () => [
      `${to} has keys and ledger; whoever has it and the passphrase is the CA`,
    ])
    return 0
  },
}
