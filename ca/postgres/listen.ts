/** Hearing at once of what another replica changed. */
import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'

import { CHANNEL } from './write.ts'

/** Milliseconds between two tries to listen again. */
const AGAIN_MS = 1000

/** Calls `listener` for each notice until `signal` aborts. A lost connection is opened again; then it is called, too. */
export function listenForChanges(pool: pg.Pool, listener: () => void, signal: AbortSignal): void {
  const once = async (): Promise<void> => {
    const connection = await pool.connect()
    const gone = Promise.withResolvers<void>()
    signal.addEventListener('abort', () => gone.resolve(), { once: true })
    connection.on('notification', listener)
    connection.on('error', () => gone.resolve())
    connection.on('end', () => gone.resolve())
    try {
      await connection.query(`LISTEN ${CHANNEL}`)
      listener()
      await gone.promise
    } finally {
      connection.release(true)
    }
  }
  const loop = async (): Promise<void> => {
    while (!signal.aborted) {
      await once().catch(() => undefined) // The server is away; what is due is looked at all the same.
      await pause(AGAIN_MS, undefined, { signal }).catch(() => undefined) // Told to end.
    }
  }
  void loop()
}
