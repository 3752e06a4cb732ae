/**
 * The state directory: keys, ledger, logs, `mesh.json`, `admin.sock`, and a lock that tells whether
 * a mesh runs on it. The lock names its owner by pid *and* start time, so that it needs nobody to
 * clear it up: after `kill -9`, or a reboot, its owner is not there any more.
 */
import { createHash } from 'node:crypto'
import { chmod, link, mkdir, readFile, rename, rm, stat, unlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

import { DeployError } from '../error.ts'
import { isRunning, type ProcessIdentity, readProcess } from './process-identity.ts'

/** Bytes of `sun_path` without its end (unix(7)). */
const MAX_SOCKET_PATH_BYTES = 107

/** Room for the longest name of a socket of ours. */
const LONGEST_SOCKET_NAME = 'admin.sock'

export interface StateDirDeps {
  readonly pid: number
  readonly uid: number
  readonly env: Readonly<Record<string, string | undefined>>
}

/** A locked state directory. Disposing it unlocks it and removes what only a running mesh has. */
export interface StateDir extends AsyncDisposable {
  /** Absolute. */
  readonly path: string
  /** Absolute directory for sockets, short enough for them. */
  readonly sockets: string
}

/** Where the state is: `--state`, else `REDOUBT_STATE`, else `.redoubt` in the working directory. */
export function stateDirOf(
  given: string | undefined,
  env: StateDirDeps['env'],
  cwd: string,
): string {
  return resolve(cwd, given ?? (env['REDOUBT_STATE'] || '.redoubt'))
}

/**
 * Makes the directory if need be (mode 0700) and locks it.
 *
 * @throws {DeployError} `DEPLOY_STATE_UNUSABLE`, `DEPLOY_STATE_IN_USE`
 */
export async function openStateDir(path: string, deps: StateDirDeps): Promise<StateDir> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 })
    await assertOwned(path, deps.uid)
    await chmod(path, 0o700)
    await mkdir(join(path, 'logs'), { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw unusable(path, cause)
  }
  const unlock = await lock(path, deps)
  const sockets = await makeSocketDir(path, deps).catch(async (cause: unknown) => {
    await unlock()
    throw unusable(path, cause)
  })
  return {
    path,
    sockets,
    async [Symbol.asyncDispose]() {
      if (sockets !== path) await rm(sockets, { recursive: true, force: true })
      await rm(join(path, 'mesh.json'), { force: true })
      await unlock()
    },
  }
}

/** The running mesh on a state directory; `undefined` if there is none. */
export async function readLock(path: string): Promise<ProcessIdentity | undefined> {
  const owner = await readOwner(join(path, 'lock'))
  return owner && isRunning(owner) ? owner : undefined
}

async function assertOwned(path: string, uid: number): Promise<void> {
  const found = await stat(path)
  if (found.uid === uid || uid === 0) return
  throw new DeployError(
    'DEPLOY_STATE_UNUSABLE',
    `Cannot use the state directory ${path}: it belongs to another user; choose another with --state DIR`,
  )
}

function unusable(path: string, cause: unknown): DeployError {
  if (cause instanceof DeployError) return cause
  const { code, message } = cause as NodeJS.ErrnoException
  const why = STATE_FAULTS[code ?? ''] ?? message
  return new DeployError(
    'DEPLOY_STATE_UNUSABLE',
    `Cannot use the state directory ${path}: ${why}; choose another with --state DIR`,
    { cause },
  )
}

const STATE_FAULTS: Readonly<Record<string, string>> = {
  ENOTDIR: 'part of the path is a file',
  EEXIST: 'there is a file of that name',
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
}

/**
 * Takes `<path>/lock` by linking a finished file to that name, which only one process can. A lock
 * whose owner is gone is moved aside first, and only if it is still the one that was judged.
 */
async function lock(path: string, { pid }: StateDirDeps): Promise<() => Promise<void>> {
  const file = join(path, 'lock')
  const own = readProcess(pid)
  if (!own) throw unusable(path, new Error('this system has no /proc'))
  const text = `${own.pid} ${own.startTime}\n`
  const draft = `${file}.${own.pid}.${own.startTime}`
  await writeFile(draft, text, { mode: 0o600 }).catch((cause: unknown) => {
    throw unusable(path, cause)
  })
  try {
    for (;;) {
      const refused = await link(draft, file).catch((cause: NodeJS.ErrnoException) => cause)
      if (!refused) break
      if (refused.code !== 'EEXIST') throw unusable(path, refused)
      const owner = await readOwner(file)
      if (owner && isRunning(owner)) throw inUse(path, owner)
      await moveAside(file, `${draft}.stale`, owner)
    }
  } finally {
    await unlink(draft)
  }
  return async () => {
    if ((await readFile(file, 'utf8').catch(() => '')) === text) await unlink(file)
  }
}

async function moveAside(
  file: string,
  aside: string,
  judged: ProcessIdentity | undefined,
): Promise<void> {
  await rename(file, aside).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'ENOENT') throw cause
  })
  const moved = await readOwner(aside)
  if (moved?.pid !== judged?.pid || moved?.startTime !== judged?.startTime) {
    // Another process has taken the stale lock in between: this is its, and goes back.
    await link(aside, file).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'EEXIST') throw cause
    })
  }
  await rm(aside, { force: true })
}

async function readOwner(file: string): Promise<ProcessIdentity | undefined> {
  const text = await readFile(file, 'utf8').catch(() => '')
  const [, pid, startTime] = /^(\d+) (\d+)\n$/.exec(text) ?? []
  return pid && startTime ? { pid: Number(pid), startTime } : undefined
}

function inUse(path: string, { pid }: ProcessIdentity): DeployError {
  return new DeployError(
    'DEPLOY_STATE_IN_USE',
    `Cannot use the state directory ${path}: another mesh runs on it (pid ${pid}); stop it, or choose another with --state DIR`,
  )
}

/**
 * The state directory itself where socket paths fit; else a directory of this user's own that any
 * process can derive from the state directory's path, so that no file has to tell.
 */
export function socketDirOf(path: string, { env, uid }: Omit<StateDirDeps, 'pid'>): string {
  if (Buffer.byteLength(join(path, LONGEST_SOCKET_NAME)) <= MAX_SOCKET_PATH_BYTES) return path
  const name = createHash('sha256').update(path).digest('hex').slice(0, 16)
  const runtime = env['XDG_RUNTIME_DIR']
  return runtime ? join(runtime, `redoubt-${name}`) : join(tmpdir(), `redoubt-${uid}-${name}`)
}

async function makeSocketDir(path: string, deps: StateDirDeps): Promise<string> {
  const sockets = socketDirOf(path, deps)
  if (sockets === path) return path
  await mkdir(sockets, { recursive: true, mode: 0o700 })
  const { uid, mode } = await stat(sockets)
  // In a shared temporary directory the name could have been taken by somebody else first.
  if (uid !== deps.uid || (mode & 0o077) !== 0) {
    throw new Error(`the directory for its sockets, ${sockets}, is open to other users`)
  }
  return sockets
}
