/**
 * Manifests from files and directories, watched. It watches *directories*, also for a single file:
 * `fs.watch` on a file is dead after the first rename over it, which is how editors and mounted
 * ConfigMaps write. What no watch reports (a network file system, a symlink's target) is found by a
 * poll.
 */
import { type FSWatcher, watch } from 'node:fs'
import { dirname, resolve } from 'node:path'

import type { Clock } from '#core/clock.ts'
import { createLive, type Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import { keepLastGood, type Read, type Reading } from './last-good.ts'
import type { SourceFile } from './messages.ts'
import { foldersLeftOut, readFiles, readRoots, type SourceRoot } from './read-files.ts'

export interface DirectorySourceDeps {
  readonly clock: Clock
  readonly log: Log
  readonly read: Read
  /** Absolute. */
  readonly cwd: string
}

/** A writer is given this long, after each sign of life, to finish. */
const SETTLE_MS = 40

/** One that truncates a file before it writes it must not be seen as having removed its policies. */
const EMPTIED_SETTLE_MS = 400

const POLL_MS = 2000

/**
 * Opens manifests and follows them until `signal` aborts. The value changes when what is in force
 * does, or when what is wrong does.
 *
 * @param paths - Relative ones start at `deps.cwd`.
 * @throws {DeployError} `DEPLOY_MANIFESTS_INVALID` if a path is not there
 */
export async function openDirectorySource(
  paths: readonly string[],
  deps: DirectorySourceDeps,
  signal: AbortSignal,
): Promise<Live<Reading>> {
  const { cwd, read, log } = deps
  const roots = await readRoots(paths, cwd)
  for (const folder of await foldersLeftOut(roots, cwd)) log('warn', 'folder-not-read', { folder })
  let seen = await readFiles(roots, cwd)
  const source = createLive(keepLastGood(seen, [], read))

  const refresh = async (): Promise<void> => {
    const found = await readSettled(roots, seen, deps, signal)
    if (isSame(found, seen)) return
    seen = found
    source.set(keepLastGood(found, source.live.current.files, read))
  }
  void follow(roots, deps, signal, refresh).catch((cause: unknown) => {
    if (!signal.aborted) log('error', 'manifest-watch-ended', { cause: String(cause) })
  })
  return source.live
}

/** Reads until two readings agree, so that a file that is being written is not taken half. */
async function readSettled(
  roots: readonly SourceRoot[],
  before: readonly SourceFile[],
  { cwd, clock }: DirectorySourceDeps,
  signal: AbortSignal,
): Promise<readonly SourceFile[]> {
  let found = await readFiles(roots, cwd)
  for (;;) {
    if (isSame(found, before)) return found
    await clock.sleep(hasLost(found, before) ? EMPTIED_SETTLE_MS : SETTLE_MS, signal)
    const again = await readFiles(roots, cwd)
    if (isSame(again, found)) return found
    found = again
  }
}

/** Whether a file is gone or empty that was neither before. */
function hasLost(found: readonly SourceFile[], before: readonly SourceFile[]): boolean {
  const texts = new Map(found.map(({ path, text }) => [path, text]))
  return before.some(({ path, text }) => text.trim() !== '' && !texts.get(path)?.trim())
}

function isSame(one: readonly SourceFile[], other: readonly SourceFile[]): boolean {
  return (
    one.length === other.length &&
    one.every(({ path, text }, index) => path === other[index]?.path && text === other[index]?.text)
  )
}

async function follow(
  roots: readonly SourceRoot[],
  { cwd, clock, log }: DirectorySourceDeps,
  signal: AbortSignal,
  refresh: () => Promise<void>,
): Promise<void> {
  const changed = createLive(0)
  const bump = (): void => changed.set(changed.live.current + 1)
  const directories = new Set(
    roots.map(({ path, isDirectory }) => resolve(cwd, isDirectory ? path : dirname(path))),
  )
  using watchers = new DisposableStack()
  for (const directory of directories) {
    const watcher = watchDirectory(directory, bump, log)
    if (watcher) watchers.defer(() => watcher.close())
  }
  const poll = async (): Promise<void> => {
    for (;;) {
      await clock.sleep(POLL_MS, signal)
      bump()
    }
  }
  poll().catch(() => {}) // Ends with the signal.
  for await (const _ of changed.live.changes(signal)) {
    await refresh().catch((cause: unknown) => {
      signal.throwIfAborted()
      log('warn', 'manifests-not-read', { cause: String(cause) })
    })
  }
}

function watchDirectory(directory: string, changed: () => void, log: Log): FSWatcher | undefined {
  try {
    const watcher = watch(directory, changed)
    watcher.on('error', (cause) => log('warn', 'watch-failed', { directory, cause: String(cause) }))
    return watcher
  } catch (cause) {
    // No inotify watches left, for one: the poll finds every change, some seconds later.
    log('warn', 'watch-failed', { directory, cause: String(cause) })
    return undefined
  }
}
