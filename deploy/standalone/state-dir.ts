/** The state directory: keys, ledger, logs, `mesh.json`, `admin.sock`, and the lock of whoever runs on it. */
import { createHash } from 'node:crypto'
import { chmod, mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

import { DeployError } from '../error.ts'
import { takeLock } from './lock.ts'
import { type ProcessIdentity, readProcess } from './process-identity.ts'

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
    await assertOurs(path)
    await chmod(path, 0o700)
    await mkdir(join(path, 'logs'), { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw unusable(path, cause)
  }
  const unlock = await lock(path, deps)
  const prepare = async (): Promise<string> => {
    await putLogsAside(join(path, 'logs'))
    return makeSocketDir(path, deps)
  }
  const sockets = await prepare().catch(async (cause: unknown) => {
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

/** Logs are of the mesh that runs; those of the one before are kept once, as `<name>.1`. */
async function putLogsAside(folder: string): Promise<void> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.log'))
  await Promise.all(names.map((name) => rename(join(folder, name), join(folder, `${name}.1`))))
}

async function assertOwned(path: string, uid: number): Promise<void> {
  const found = await stat(path)
  if (found.uid === uid || uid === 0) return
  throw new DeployError(
    'DEPLOY_STATE_UNUSABLE',
    `Cannot use the state directory ${path}: it belongs to another user; choose another with --state DIR`,
  )
}

/** A directory with files of others in it is not made private under their hands: `--state .` is easily said. */
async function assertOurs(path: string): Promise<void> {
  const names = await readdir(path)
  const isPrivate = ((await stat(path)).mode & 0o077) === 0
  if (isPrivate || names.length === 0 || names.some((name) => /^lock\.\d+$/.test(name))) return
  throw new DeployError(
    'DEPLOY_STATE_UNUSABLE',
    `Cannot use the state directory ${path}: it holds files of others; choose a new or empty one with --state DIR`,
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

async function lock(path: string, { pid }: StateDirDeps): Promise<() => Promise<void>> {
  const own = readProcess(pid)
  if (!own) throw unusable(path, new Error('this system has no /proc'))
  const locking = await takeLock(path, own).catch((cause: unknown) => {
    throw unusable(path, cause)
  })
  if (locking.kind === 'in-use') throw inUse(path, locking.owner)
  return locking.release
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
