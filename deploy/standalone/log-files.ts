/** Logs below `<state>/logs`: one file a process, bounded, whoever writes it. */
import { copyFile, readdir, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'

import type { Clock } from '#core/clock.ts'
import type { Log } from '#core/log.ts'

/** Bytes above which a log's content moves to `<name>.1`, in place of what was there. */
const MAX_LOG_BYTES = 16 * 1024 * 1024

const PAUSE_MS = 5000

/**
 * Keeps every log within twice its limit. All writers append (`O_APPEND`), apps too, so that a file
 * can be emptied under them; lines written between copy and cut are lost.
 */
export async function trimLogs(
  folder: string,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(PAUSE_MS, signal).catch(() => {}) // The loop's condition ends it.
    for (const name of await readdir(folder).catch(() => [])) {
      if (!name.endsWith('.log')) continue
      await trim(join(folder, name)).catch((cause: unknown) =>
        log('warn', 'log-not-trimmed', { name, cause: String(cause) }),
      )
    }
  }
}

async function trim(file: string): Promise<void> {
  const { size } = await stat(file)
  if (size < MAX_LOG_BYTES) return
  await copyFile(file, `${file}.1`)
  await truncate(file)
}
