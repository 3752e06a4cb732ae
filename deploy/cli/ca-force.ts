/**
 * Steps of a root rotation when nothing can be signed, not even an administrator's certificate: the
 * owner of the mesh asks over `admin.sock`, or takes them in the state directory of one that does not run.
 */
import { join, resolve } from 'node:path'

import { type RotateStep, recoverState } from '#ca/index.ts'
import { askMesh } from '../standalone/admin-client.ts'
import { lockOwner } from '../standalone/lock.ts'
import type { ForcedRotation } from '../standalone/messages.ts'
import { stateDirOf } from '../standalone/state-dir.ts'
import { type CommandOption, type Input, type Io, textOption } from './command.ts'
import { sharedLedger } from './ledger-options.ts'
import { outputFormat, paint, print } from './output.ts'

/** Takes the step, and prints what has become of it. */
export async function rotateByForce(
  io: Io,
  input: Input,
  step: RotateStep,
  signal: AbortSignal,
): Promise<void> {
  const state = stateDirOf(textOption(input, 'state'), io.env, io.cwd)
  const runs = (await lockOwner(state)) !== undefined
  const told = runs
    ? ((await askMesh(state, `/rotate-by-force?step=${step}`, io, signal)) as ForcedRotation)
    : await recoverState(
        join(state, 'ca'),
        { by: `uid:${io.uid}`, step, ...keyPassphraseOf(io, input) },
        io.now,
        await sharedLedger(io, input, state),
      )
  print(io, outputFormat(input), { done: true, step, runs, ...told }, () => [
    `${step}: done by force, ${runs ? 'in the mesh that runs' : 'in the state of a mesh that does not run'}`,
    ...(told.fault === undefined
      ? []
      : [paint(io, 'yellow', `  nothing is signed: ${told.fault}`)]),
    NEXT[told.phase ?? 'none'],
  ])
}

/** What opens the keys of a mesh that does not run. */
export const KEY_PASSPHRASE_OPTION: CommandOption = {
  flags: '--key-passphrase-file <file>',
  summary: 'with --force, on a mesh that does not run and whose keys are encrypted',
}

function keyPassphraseOf({ cwd }: Io, input: Input) {
  const file = textOption(input, 'keyPassphraseFile')
  return file === undefined ? {} : { keyPassphrase: { file: resolve(cwd, file) } }
}

const NEXT: Readonly<Record<'started' | 'promoted' | 'none', string>> = {
  started: '  next: redoubt ca rotate promote, with --force if nothing can be signed',
  promoted: '  next: redoubt ca rotate finish',
  none: '  no rotation is under way',
}
