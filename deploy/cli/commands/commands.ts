import type { Command } from '../command.ts'
import { authzCheck } from './authz-check.ts'
import { authzExplain } from './authz-explain.ts'
import { authzTest } from './authz-test.ts'
import { certInspect } from './cert-inspect.ts'
import { demo } from './demo.ts'
import { init } from './init.ts'
import { logs } from './logs.ts'
import { status } from './status.ts'
import { up } from './up.ts'
import { validate } from './validate.ts'

/** Every command, in the order of the help. */
export const COMMANDS: readonly Command[] = [
  demo,
  init,
  up,
  status,
  logs,
  validate,
  certInspect,
  authzCheck,
  authzExplain,
  authzTest,
]
