/**
 * A lock on a directory that needs nobody to clear it up: its file names the owner by pid *and* start
 * time, so that after `kill -9`, or a reboot, it is plain that the owner is gone.
 *
 * Files are numbered, `lock.1`, `lock.2`, …; the highest counts. A lock whose owner is gone is not
 * removed and taken (two could do that, one after the other), it is succeeded: linking the next
 * number is what only one can do. For the same reason a lock that is let go stays as a file that
 * names nobody.
 */
import { randomUUID } from 'node:crypto'
import { link, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { isRunning, type ProcessIdentity } from './process-identity.ts'

export type Locking =
  | { readonly kind: 'taken'; readonly release: () => Promise<void> }
  | { readonly kind: 'in-use'; readonly owner: ProcessIdentity }

/** Takes the lock of `folder` for `own`, unless a process that runs has it. */
export async function takeLock(folder: string, own: ProcessIdentity): Promise<Locking> {
  const draft = join(folder, `lock-draft.${randomUUID()}`)
  await writeFile(draft, `${own.pid} ${own.startTime}\n`, { mode: 0o600 })
  try {
    for (;;) {
      const number = await highest(folder)
      const owner = await readOwner(lockFile(folder, number))
      if (owner && isRunning(owner)) return { kind: 'in-use', owner }
      const file = lockFile(folder, number + 1)
      const refused = await link(draft, file).catch((cause: NodeJS.ErrnoException) => cause)
      if (refused && refused.code !== 'EEXIST') throw refused
      if (refused) continue
      if ((await highest(folder)) > number + 1) {
        await rm(file) // We were so slow that others have come and gone since we looked.
        continue
      }
      await removeBelow(folder, number + 1)
      return { kind: 'taken', release: () => writeFile(file, '') }
    }
  } finally {
    await rm(draft, { force: true })
  }
}

/** Who has the lock of `folder` and runs; `undefined` for nobody. */
export async function lockOwner(folder: string): Promise<ProcessIdentity | undefined> {
  const owner = await readOwner(lockFile(folder, await highest(folder)))
  return owner && isRunning(owner) ? owner : undefined
}

function lockFile(folder: string, number: number): string {
  return join(folder, `lock.${number}`)
}

async function numbers(folder: string): Promise<readonly number[]> {
  const names = await readdir(folder).catch(() => [])
  return names.flatMap((name) => /^lock\.(\d+)$/.exec(name)?.[1] ?? []).map(Number)
}

async function highest(folder: string): Promise<number> {
  return Math.max(0, ...(await numbers(folder)))
}

async function removeBelow(folder: string, number: number): Promise<void> {
  const old = (await numbers(folder)).filter((one) => one < number)
  await Promise.all(old.map((one) => rm(lockFile(folder, one), { force: true })))
}

async function readOwner(file: string): Promise<ProcessIdentity | undefined> {
  const text = await readFile(file, 'utf8').catch(() => '')
  const [, pid, startTime] = /^(\d+) (\d+)\n$/.exec(text) ?? []
  return pid && startTime ? { pid: Number(pid), startTime } : undefined
}
