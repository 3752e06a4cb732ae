/** Keys in files of their owner alone: PKCS#8, encrypted where there is a passphrase. */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { join } from 'node:path'

import { CaError } from '../error.ts'
import { derFromPem, type PemLabel, pemFromDer } from '../x509/index.ts'
import { seal, unseal } from './sealed.ts'
import { type KeyStore, localKey, type SigningKey } from './signing-key.ts'
import { openStateDir, type StateDir } from './state-dir.ts'

/** Folder of the keys below a state directory. */
export const KEYS_FOLDER = 'keys'

const PLAIN = 'PRIVATE KEY'
const SEALED = 'REDOUBT SEALED PRIVATE KEY'

/**
 * A file for each key, `<id>.pem`, below `path`. With a passphrase, files that are not encrypted yet
 * are encrypted when they are opened.
 *
 * @throws {CaError} `CA_STATE_UNUSABLE` if the directory cannot be made or written
 */
export async function openFileKeys(
  path: string,
  passphrase: string | undefined,
): Promise<KeyStore> {
  return keysIn(await openStateDir(path), passphrase)
}

/** The same in files that are kept elsewhere. */
export function keysIn(files: StateDir, passphrase: string | undefined): KeyStore {
  const { path } = files
  const keep = async (key: KeyObject): Promise<SigningKey> => {
    const signing = localKey(key)
    await files.write(fileOf(signing.id), await textOf(key, signing.id, passphrase))
    return signing
  }
  return {
    name: `files in ${path}`,
    isLasting: true,
    create: () => keep(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey),
    take: keep,
    async open(id) {
      const text = await files.read(fileOf(id))
      if (text === undefined) return undefined
      const { key, isSealed } = await read(text, { id, path, passphrase })
      if (passphrase !== undefined && !isSealed) return keep(key)
      return localKey(key)
    },
    remove: (id) => files.remove(fileOf(id)),
    async [Symbol.asyncDispose]() {},
  }
}

function fileOf(id: string): string {
  return `${id}.pem`
}

async function textOf(key: KeyObject, id: string, passphrase: string | undefined): Promise<string> {
  const der = key.export({ type: 'pkcs8', format: 'der' })
  if (passphrase === undefined) return pemFromDer(PLAIN, der)
  return pemFromDer(SEALED, await seal(der, passphrase, id))
}

interface Reading {
  readonly id: string
  readonly path: string
  readonly passphrase: string | undefined
}

async function read(
  text: string,
  reading: Reading,
): Promise<{ readonly key: KeyObject; readonly isSealed: boolean }> {
  const isSealed = text.includes(`BEGIN ${SEALED}`)
  const der = isSealed ? await open(text, reading) : derOf(PLAIN, text, reading)
  const key = parse(der, reading)
  if (localKey(key).id !== reading.id) throw unusable(reading, 'it is another key')
  return { key, isSealed }
}

async function open(text: string, reading: Reading): Promise<Uint8Array> {
  const { passphrase, id } = reading
  if (passphrase === undefined) {
    throw unusable(reading, 'it is encrypted, expected a passphrase in the configuration')
  }
  const der = await unseal(derOf(SEALED, text, reading), passphrase, id)
  if (!der) throw unusable(reading, 'the passphrase does not open it, or it was changed')
  return der
}

function derOf(label: PemLabel, text: string, reading: Reading): Uint8Array {
  try {
    const [der, ...others] = derFromPem(label, text)
    if (der && others.length === 0) return der
  } catch (cause) {
    throw unusable(reading, `it cannot be read: ${(cause as Error).message}`, cause)
  }
  throw unusable(reading, 'it holds more than one key')
}

function parse(der: Uint8Array, reading: Reading): KeyObject {
  try {
    return createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' })
  } catch (cause) {
    throw unusable(reading, `it cannot be read: ${(cause as Error).message}`, cause)
  }
}

function unusable({ path, id }: Reading, why: string, cause?: unknown): CaError {
  return new CaError(
    'CA_STATE_UNUSABLE',
    `Cannot use the stored key ${join(path, fileOf(id))}: ${why}`,
    { cause },
  )
}
