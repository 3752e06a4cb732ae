/** The key that signs tree heads. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'

import { CaError } from '../error.ts'
import { seal, unseal } from '../keys/sealed.ts'
import type { StateDir } from '../keys/state-dir.ts'
import type { SignedHead } from '../log/head.ts'
import { derFromPem, pemFromDer } from '../x509/index.ts'

/** File of the log's key; where it is encrypted, the public key is in it besides, for audits. */
export const LOG_KEY_FILE = 'log-key.pem'

const SEALED = 'REDOUBT SEALED PRIVATE KEY'

/** What it is sealed as: no other key can be passed off as it. */
const PURPOSE = 'log-key'

/**
 * Reads the key of the log, or makes one where it has `signed` nothing yet. With a passphrase it is
 * encrypted, like the CA's other keys; one from before is encrypted when it is read.
 *
 * @throws {CaError} `CA_STATE_UNUSABLE` if it is lost or unreadable
 */
export async function openLogKey(
  state: StateDir,
  signed: SignedHead | undefined,
  passphrase: string | undefined,
): Promise<KeyObject> {
  const text = await state.read(LOG_KEY_FILE)
  if (text !== undefined) {
    const key = await readLogKey(text, passphrase)
    if (passphrase !== undefined && !isSealed(text)) await keepLogKey(state, key, passphrase)
    return key
  }
  if (signed) {
    throw unusableLog(`its key ${LOG_KEY_FILE} is gone, and what it signed is there; put it back`)
  }
  const { privateKey: key } = generateKeyPairSync('ed25519')
  await keepLogKey(state, key, passphrase)
  return key
}

/** Puts the key of a log in its file, encrypted where there is a passphrase. */
export async function keepLogKey(
  state: StateDir,
  key: KeyObject,
  passphrase: string | undefined,
): Promise<void> {
  const der = key.export({ type: 'pkcs8', format: 'der' })
  const text =
    passphrase === undefined
      ? pemFromDer('PRIVATE KEY', der)
      : pemFromDer(SEALED, await seal(der, passphrase, PURPOSE)) + publicPem(createPublicKey(key))
  await state.write(LOG_KEY_FILE, text)
}

/** The key of a log from its file. @throws {CaError} `CA_STATE_UNUSABLE` */
export async function readLogKey(text: string, passphrase: string | undefined): Promise<KeyObject> {
  if (!isSealed(text)) return parsed(() => createPrivateKey(text))
  if (passphrase === undefined) {
    throw unusableKey(
      "it is encrypted, expected the passphrase of the CA's keys (certificateAuthority.keys.passphrase of the Mesh, --key-passphrase-file of ca restore and ca rotate)",
    )
  }
  const [sealed = new Uint8Array()] = derFromPem(SEALED, text)
  const der = await unseal(sealed, passphrase, PURPOSE)
  if (!der) throw unusableKey('the passphrase does not open it, or it was changed')
  const pkcs8 = { key: Buffer.from(der), format: 'der', type: 'pkcs8' } as const
  const key = parsed(() => createPrivateKey(pkcs8))
  if (createPublicKey(key).equals(readLogPublicKey(text))) return key
  throw unusableKey('it has another public key beside it')
}

/** The half that everybody may know, from its file: for that no passphrase is needed. @throws {CaError} `CA_STATE_UNUSABLE` */
export function readLogPublicKey(text: string): KeyObject {
  return parsed(() => createPublicKey(isSealed(text) ? text.slice(text.indexOf(PUBLIC)) : text))
}

const PUBLIC = '-----BEGIN PUBLIC KEY-----'

function publicPem(key: KeyObject): string {
  return key.export({ type: 'spki', format: 'pem' }).toString()
}

function isSealed(text: string): boolean {
  return text.includes(`BEGIN ${SEALED}`)
}

function parsed(parse: () => KeyObject): KeyObject {
  try {
    const key = parse()
    if (key.asymmetricKeyType === 'ed25519') return key
  } catch (cause) {
    throw unusableKey('it cannot be read', cause)
  }
  throw unusableKey('it is not Ed25519')
}

function unusableKey(why: string, cause?: unknown): CaError {
  return new CaError('CA_STATE_UNUSABLE', `Cannot use the key of the log ${LOG_KEY_FILE}: ${why}`, {
    cause,
  })
}

/** Why a log is not gone on with. */
export function unusableLog(why: string, cause?: unknown): CaError {
  return new CaError(
    'CA_STATE_UNUSABLE',
    `Cannot go on with the log: ${why} (redoubt ca log verify says more)`,
    { cause },
  )
}
