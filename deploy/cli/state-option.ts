import type { CommandOption } from './command.ts'

/** Where the mesh's state is; every command that needs a running mesh has it. */
export const STATE_OPTION: CommandOption = {
  flags: '--state <dir>',
  summary: "directory of the mesh's state (default: REDOUBT_STATE, or .redoubt here)",
}
