import { join } from 'node:path'
import pino from 'pino'

import type { Log } from '#core/log.ts'

/** The supervisor's own log, `<state>/logs/supervisor.log`. */
export function openFileLog(
  state: string,
  pid: number,
): { readonly log: Log; readonly close: () => void } {
  const dest = join(state, 'logs', 'supervisor.log')
  const destination = pino.destination({ dest, sync: true, mode: 0o600 })
  const logger = pino({ base: { process: 'supervisor', pid } }, destination)
  return {
    log: (level, event, fields) => logger[level]({ ...fields, event }),
    close: () => destination.end(),
  }
}
