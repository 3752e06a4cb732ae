/** Every command, in the order of the help. */
import type { Command } from '../command.ts'
import { demo } from './demo.ts'
import { up } from './up.ts'

/** Every command, in the order of the help. */
export const COMMANDS: readonly Command[] = [up, demo]
