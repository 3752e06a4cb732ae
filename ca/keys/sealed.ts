/** Secrets at rest: scrypt makes a key of a passphrase, AES-256-GCM encrypts and authenticates. */
import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto'

/** OWASP's second choice for scrypt: 32 MiB and some 100 ms for each guess, and for each file at start. */
const COST = { N: 2 ** 15, r: 8, p: 3, maxmem: 64 * 1024 * 1024 } as const

const KEY_BYTES = 32
const SALT_BYTES = 16
const NONCE_BYTES = 12
const TAG_BYTES = 16

/** The first byte: what follows is salt, nonce, tag, and the encrypted bytes. */
const VERSION = 1

/**
 * `secret`, readable by whoever has `passphrase`.
 *
 * @param what - Names what it is; sealed bytes cannot be passed off as another thing.
 */
export async function seal(
  secret: Uint8Array,
  passphrase: string,
  what: string,
): Promise<Uint8Array> {
  const salt = randomBytes(SALT_BYTES)
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', await derive(passphrase, salt), nonce)
  cipher.setAAD(Buffer.from(what))
  const encrypted = Buffer.concat([cipher.update(secret), cipher.final()])
  return Buffer.concat([Uint8Array.of(VERSION), salt, nonce, cipher.getAuthTag(), encrypted])
}

/** What was sealed as `what`; `undefined` if the passphrase is another, or the bytes were changed. */
export async function unseal(
  sealed: Uint8Array,
  passphrase: string,
  what: string,
): Promise<Uint8Array | undefined> {
  const bytes = Buffer.from(sealed)
  const saltEnd = 1 + SALT_BYTES
  const nonceEnd = saltEnd + NONCE_BYTES
  const tagEnd = nonceEnd + TAG_BYTES
  const salt = bytes.subarray(1, saltEnd)
  const nonce = bytes.subarray(saltEnd, nonceEnd)
  const tag = bytes.subarray(nonceEnd, tagEnd)
  if (bytes[0] !== VERSION || tag.length !== TAG_BYTES) return undefined
  const decipher = createDecipheriv('aes-256-gcm', await derive(passphrase, salt), nonce)
  decipher.setAAD(Buffer.from(what))
  decipher.setAuthTag(tag)
  try {
    return Buffer.concat([decipher.update(bytes.subarray(tagEnd)), decipher.final()])
  } catch {
    return undefined // its tag does not fit, which is all that GCM can say
  }
}

/**
 * `secret`, readable by whoever has the key: for many secrets under one key, which {@link derive} made.
 *
 * @param key - 32 bytes.
 * @param what - As in {@link seal}.
 */
export function sealBy(secret: Uint8Array, key: Uint8Array, what: string): Uint8Array {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  cipher.setAAD(Buffer.from(what))
  const encrypted = Buffer.concat([cipher.update(secret), cipher.final()])
  return Buffer.concat([nonce, cipher.getAuthTag(), encrypted])
}

/** What was sealed as `what`; `undefined` if the key is another, or the bytes were changed. */
export function openSealed(
  sealed: Uint8Array,
  key: Uint8Array,
  what: string,
): Uint8Array | undefined {
  const bytes = Buffer.from(sealed)
  const tagEnd = NONCE_BYTES + TAG_BYTES
  if (bytes.length < tagEnd) return undefined
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, NONCE_BYTES))
  decipher.setAAD(Buffer.from(what))
  decipher.setAuthTag(bytes.subarray(NONCE_BYTES, tagEnd))
  try {
    return Buffer.concat([decipher.update(bytes.subarray(tagEnd)), decipher.final()])
  } catch {
    return undefined // its tag does not fit, which is all that GCM can say
  }
}

/** The key that a passphrase makes with a salt: 32 bytes. */
export function derive(passphrase: string, salt: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(passphrase.normalize('NFC'), salt, KEY_BYTES, COST, (cause, key) =>
      cause ? reject(cause) : resolve(key),
    )
  })
}
