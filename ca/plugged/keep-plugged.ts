/** Follows the files of a CA that is plugged in. */
import type { Clock } from '#core/clock.ts'
import { createLive, type Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import { CaError } from '../error.ts'
import { pluggedStamp, readPluggedFiles } from './files.ts'
import { type JudgeInput, judgePlugged, type PluggedCa } from './judge.ts'

export interface PluggedDeps extends Omit<JudgeInput, 'now'> {
  /** Absolute path of the directory. */
  readonly dir: string
  readonly now: () => Temporal.Instant
  readonly clock: Clock
  readonly log: Log
}

/** A CA of somebody else's, as its files are. */
export interface Plugged {
  /** Absolute path of the directory. */
  readonly dir: string
  /** The last set that was in order. */
  readonly live: Live<PluggedCa>
  /** What is wrong with the files as they are now; `undefined` while they are what is in force. */
  readonly fault: () => string | undefined
  /** Looks again until `signal` aborts, and takes each set that is in order. */
  readonly follow: (signal: AbortSignal) => Promise<void>
}

/**
 * Milliseconds between two looks. Files are looked at rather than watched: a watch does not see what
 * happens behind a symbolic link, and that is how Kubernetes replaces a Secret.
 */
const LOOK_MS = 2000

/**
 * Reads and judges the CA in `deps.dir`.
 *
 * @throws {CaError} `CA_CONFIG_INVALID` with everything that is wrong
 */
export async function openPlugged(deps: PluggedDeps): Promise<Plugged> {
  const { dir, clock, log, now } = deps
  const read = async () => {
    const files = await readPluggedFiles(dir)
    return { files, plugged: await judgePlugged(files, { ...deps, now: now() }) }
  }
  const first = await read().catch((cause: unknown) => {
    throw inDirectory(dir, cause)
  })
  const source = createLive(first.plugged)
  if (first.files.isKeyOpen) log('warn', 'plugged-ca-key-open', { dir })
  let seen = first.files.stamp
  let fault: string | undefined

  const look = async (): Promise<void> => {
    const stamp = await pluggedStamp(dir)
    // A set that was refused is judged again: it may have been too early for it.
    if (stamp === seen && fault === undefined) return
    // Marked as seen before it is read: what changes meanwhile is looked at the next time.
    seen = stamp
    const { plugged } = await read()
    fault = undefined
    if (isSameCa(plugged, source.live.current)) return
    source.set(plugged)
    const { serial, notAfter } = plugged.authority.certificate
    log('info', 'plugged-ca-taken', { serial, notAfter: String(notAfter) })
  }
  return {
    dir,
    live: source.live,
    fault: () => fault,
    async follow(signal) {
      while (!signal.aborted) {
        await clock.sleep(LOOK_MS, signal)
        await look().catch((cause: unknown) => {
          const detail = inDirectory(dir, cause).message
          if (detail !== fault) log('error', 'plugged-ca-refused', { detail })
          fault = detail
        })
      }
    },
  }
}

function inDirectory(dir: string, cause: unknown): CaError {
  const { message } = cause as Error
  if (cause instanceof CaError && message.startsWith('Cannot use the CA in')) return cause
  return new CaError('CA_CONFIG_INVALID', `Cannot use the CA in ${dir}: ${message}`, { cause })
}

function isSameCa(a: PluggedCa, b: PluggedCa): boolean {
  const bytesOf = ({ authority, intermediates, roots }: PluggedCa) =>
    Buffer.concat([authority.certificate.der, ...intermediates, ...roots])
  return bytesOf(a).equals(bytesOf(b))
}
