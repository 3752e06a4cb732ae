/** The key that signs tree heads. */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'

import { CaError } from '../error.ts'
import type { StateDir } from '../keys/state-dir.ts'
import type { SignedHead } from '../log/head.ts'

/** File of the log's key. */
export const LOG_KEY_FILE = 'log-key.pem'

/**
 * Reads the key of the log, or makes one where it has `signed` nothing yet.
 *
 * @throws {CaError} `CA_STATE_UNUSABLE` if it is lost or unreadable
 */
export async function openLogKey(
  state: StateDir,
  signed: SignedHead | undefined,
): Promise<KeyObject> {
  const text = await state.read(LOG_KEY_FILE)
  if (text !== undefined) return parseLogKey(text)
  if (signed) {
    throw unusableLog(`its key ${LOG_KEY_FILE} is gone, and what it signed is there; put it back`)
  }
  const { privateKey: key } = generateKeyPairSync('ed25519')
  await state.write(LOG_KEY_FILE, key.export({ type: 'pkcs8', format: 'pem' }).toString())
  return key
}

/** The key of a log from its PEM. @throws {CaError} `CA_STATE_UNUSABLE` */
export function parseLogKey(text: string): KeyObject {
  try {
    const key = createPrivateKey(text)
    if (key.asymmetricKeyType === 'ed25519') return key
  } catch (cause) {
    throw unusableLog(`its key ${LOG_KEY_FILE} cannot be read`, cause)
  }
  throw unusableLog(`its key ${LOG_KEY_FILE} is not Ed25519`)
}

/** Why a log is not gone on with. */
export function unusableLog(why: string, cause?: unknown): CaError {
  return new CaError(
    'CA_STATE_UNUSABLE',
    `Cannot go on with the log: ${why} (redoubt ca log verify says more)`,
    { cause },
  )
}
