/**
 * The head that was last seen, in a file beside the database: whoever puts an older database in the
 * place of the newer has then to explain two heads.
 */
import type { StateDir } from '../keys/state-dir.ts'
import type { SignedHead } from '../log/head.ts'
import { readHead } from '../log/read-document.ts'
import { unusableLog } from './log-key.ts'

/** File of the head. */
export const SEEN_HEAD_FILE = 'log-seen.json'

/** The head that was last seen, if any was. @throws {CaError} `CA_STATE_UNUSABLE` */
export async function readSeenHead(state: StateDir): Promise<SignedHead | undefined> {
  const text = await state.read(SEEN_HEAD_FILE)
  try {
    return text === undefined ? undefined : readHead(text)
  } catch (cause) {
    throw unusableLog(`the head in ${SEEN_HEAD_FILE} cannot be read`, cause)
  }
}

/** Keeps a head as the last seen. @throws {CaError} `CA_STATE_UNUSABLE` */
export function writeSeenHead(state: StateDir, head: SignedHead): Promise<void> {
  return state.write(SEEN_HEAD_FILE, `${JSON.stringify(head)}\n`)
}
