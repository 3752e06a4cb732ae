/** Sessions with one token: opened when needed, lent one caller at a time, opened anew when they are lost. */
import type { Clock } from '#core/clock.ts'
import { CaError } from '../../error.ts'
import { CKR, memory, Pkcs11Failure, type Pkcs11Library, ulong } from './library.ts'

/** Which token, and how to be let in. */
export interface TokenConfig {
  /** For messages. */
  readonly module: string
  /** Label of the token. */
  readonly token: string
  /** The user's PIN; read anew at each login. */
  readonly pin: () => Promise<string>
}

/** A session, good until its token is lost. */
export interface Session {
  readonly handle: bigint
  /** Changes when handles of objects do not hold any more. */
  readonly epoch: number
}

export interface Sessions extends AsyncDisposable {
  /**
   * Runs `use` with a session of its own. When the token has lost our sessions, they are opened anew
   * and `use` runs a second time.
   *
   * @throws {CaError} `CA_SIGNER_UNAVAILABLE` if the token does not let us in, does not answer in
   *   {@link ANSWER_MS}, or refuses
   */
  readonly with: <T>(use: (session: Session) => Promise<T>) => Promise<T>
}

/** Sessions at once: a token does little in parallel, and network HSMs bound them. */
const MAX_SESSIONS = 4

/** Elapsed milliseconds after which a token is taken to be away. */
const ANSWER_MS = 10_000

const OS_LOCKING_OK = 2
const SERIAL_AND_WRITING = 4 | 2
const USER = 1
const LABEL_BYTES = 32
const TOKEN_INFO_BYTES = 256
const MAX_SLOTS = 256

/** After these the sessions of a token are gone; it may be back. */
const LOST: ReadonlySet<number> = new Set([
  CKR.deviceError,
  CKR.deviceRemoved,
  CKR.sessionClosed,
  CKR.sessionHandleInvalid,
  CKR.objectHandleInvalid,
  CKR.keyHandleInvalid,
  CKR.tokenNotPresent,
  CKR.userNotLoggedIn,
])

/** Opens nothing before the first use. */
export function openSessions(library: Pkcs11Library, config: TokenConfig, clock: Clock): Sessions {
  let epoch = 0
  let opening: Promise<bigint> | undefined
  let open = 0
  let free: Session[] = []
  const waiting: (() => void)[] = []

  const slot = (): Promise<bigint> => {
    opening ??= findToken(library, config).catch((cause: unknown) => {
      opening = undefined
      throw cause
    })
    return opening
  }
  const take = async (): Promise<Session> => {
    const slotId = await slot()
    for (;;) {
      const session = free.pop()
      if (session?.epoch === epoch) return session
      if (session) continue
      if (open < MAX_SESSIONS) break
      await new Promise<void>((resolve) => waiting.push(resolve))
    }
    open += 1
    try {
      return { handle: await openSession(library, slotId, config), epoch }
    } catch (cause) {
      open -= 1
      waiting.shift()?.()
      throw cause
    }
  }
  const giveBack = (session: Session): void => {
    if (session.epoch === epoch) free.push(session)
    waiting.shift()?.()
  }
  const lose = (lost: Session): void => {
    if (lost.epoch !== epoch) return
    epoch += 1
    free = []
    open = 0
    opening = undefined
  }
  const once = async <T>(use: (session: Session) => Promise<T>): Promise<T> => {
    const session = await take()
    try {
      return await use(session)
    } catch (cause) {
      if (cause instanceof Pkcs11Failure && LOST.has(cause.code)) lose(session)
      throw cause
    } finally {
      giveBack(session)
    }
  }
  return {
    async with(use) {
      const ended = new AbortController()
      const late = clock.sleep(ANSWER_MS, ended.signal).then(() => {
        throw unavailable(config, `it did not answer within ${ANSWER_MS} ms`)
      })
      late.catch(() => {}) // unheard when the answer was in time
      const run = once(use).catch((cause: unknown) => {
        if (!(cause instanceof Pkcs11Failure) || !LOST.has(cause.code)) throw cause
        return once(use)
      })
      try {
        return await Promise.race([run, late])
      } catch (cause) {
        throw cause instanceof Pkcs11Failure ? unavailable(config, cause.message, cause) : cause
      } finally {
        ended.abort()
        run.catch(() => {}) // the late end of what nobody waits for any more
      }
    },
    async [Symbol.asyncDispose]() {
      const sessions = free
      free = []
      for (const { handle } of sessions) {
        await library.call('C_CloseSession', handle).catch(() => {}) // closed by the token, then
      }
    },
  }
}

async function findToken(library: Pkcs11Library, config: TokenConfig): Promise<bigint> {
  const args = memory(48)
  args.writeBigUInt64LE(BigInt(OS_LOCKING_OK), 32)
  await library.call('C_Initialize', args).catch(ignoring(CKR.alreadyInitialized))
  const count = ulong(MAX_SLOTS)
  const slots = memory(8 * MAX_SLOTS)
  await library.call('C_GetSlotList', 1, slots, count)
  const labels: string[] = []
  for (let at = 0; at < Number(count.readBigUInt64LE()); at += 1) {
    const slot = slots.readBigUInt64LE(8 * at)
    const info = memory(TOKEN_INFO_BYTES)
    await library.call('C_GetTokenInfo', slot, info)
    const label = info.toString('utf8', 0, LABEL_BYTES).trimEnd()
    if (label === config.token) return slot
    if (label !== '') labels.push(label)
  }
  throw unavailable(config, `it is not there; there is ${labels.join(', ') || 'none'}`)
}

async function openSession(
  library: Pkcs11Library,
  slot: bigint,
  config: TokenConfig,
): Promise<bigint> {
  const handle = ulong(0)
  await library.call('C_OpenSession', slot, SERIAL_AND_WRITING, null, null, handle)
  const session = handle.readBigUInt64LE()
  const pin = memory(Buffer.from(await config.pin()))
  try {
    // Of the token, not of the session: all but the first hear that it is so already.
    await library
      .call('C_Login', session, USER, pin, pin.length)
      .catch(ignoring(CKR.userAlreadyLoggedIn))
  } catch (cause) {
    await library.call('C_CloseSession', session).catch(() => {}) // the refusal is what is told
    const code = cause instanceof Pkcs11Failure ? cause.code : undefined
    if (code === CKR.pinIncorrect) throw unavailable(config, 'the PIN is not its PIN', cause)
    if (code === CKR.pinLocked) throw unavailable(config, 'its PIN is locked', cause)
    throw cause
  } finally {
    pin.fill(0)
  }
  return session
}

function ignoring(code: number): (cause: unknown) => void {
  return (cause) => {
    if (!(cause instanceof Pkcs11Failure && cause.code === code)) throw cause
  }
}

function unavailable({ module, token }: TokenConfig, why: string, cause?: unknown): CaError {
  return new CaError(
    'CA_SIGNER_UNAVAILABLE',
    `Cannot use the PKCS#11 token "${token}" of ${module}: ${why}`,
    { cause },
  )
}
