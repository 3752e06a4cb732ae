/**
 * One encrypted file of many: a line that says what it is, a line of JSON with what the key is derived
 * from, then AES-256-GCM over all files, then its tag. It is read to its end before anything counts.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, open, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'

import { CaError } from '../error.ts'
import { derive } from '../keys/sealed.ts'
import { createByteReader } from './byte-reader.ts'

const MAGIC = 'redoubt backup 1\n'
const TAG_BYTES = 16
const MAX_HEAD_BYTES = 1024

/** A file that goes in: one that there is, or its text alone. */
export type Packed = {
  /** Relative, with `/` between folders. */
  readonly name: string
} & (
  | {
      /** Absolute. */
      readonly path: string
    }
  | { readonly text: string }
)

/**
 * Writes `files` to a new file at `path`, readable by its owner alone, for whoever has `passphrase`.
 *
 * @throws {CaError} `CA_BACKUP_INVALID` if there is one already
 */
export async function pack(
  path: string,
  files: readonly Packed[],
  passphrase: string,
): Promise<void> {
  const [salt, nonce] = [randomBytes(16), randomBytes(12)]
  const head = `${MAGIC}${JSON.stringify({ salt: salt.toString('hex'), nonce: nonce.toString('hex') })}\n`
  const cipher = createCipheriv('aes-256-gcm', await derive(passphrase, salt), nonce)
  cipher.setAAD(Buffer.from(head))
  async function* bytes(): AsyncGenerator<Uint8Array> {
    yield Buffer.from(head)
    for await (const chunk of framed(files)) yield cipher.update(chunk)
    yield cipher.final()
    yield cipher.getAuthTag()
  }
  try {
    await pipeline(bytes, createWriteStream(path, { flags: 'wx', mode: 0o600, flush: true }))
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
    throw invalid(`Cannot write the backup ${path}: there is a file of that name`, cause)
  }
}

async function* framed(files: readonly Packed[]): AsyncGenerator<Uint8Array> {
  for (const file of files) {
    const text = 'text' in file ? Buffer.from(file.text) : undefined
    const size = 'path' in file ? (await stat(file.path)).size : (text?.length ?? 0)
    const line = Buffer.from(JSON.stringify({ name: file.name, size }))
    const length = Buffer.alloc(4)
    length.writeUInt32BE(line.length)
    yield length
    yield line
    if (text) yield text
    if ('path' in file && size > 0) {
      yield* createReadStream(file.path, { end: size - 1 }) as AsyncIterable<Uint8Array>
    }
  }
  yield Buffer.alloc(4)
}

/**
 * Unpacks what {@link pack} wrote below the folder `into`, which only counts once this has resolved.
 *
 * @throws {CaError} `CA_BACKUP_INVALID` if it is no backup, was changed, or has another passphrase
 */
export async function unpack(path: string, into: string, passphrase: string): Promise<void> {
  const { head, salt, nonce } = await readHeadOf(path)
  const { size } = await stat(path)
  const tag = Buffer.alloc(TAG_BYTES)
  {
    await using file = await open(path)
    await file.read(tag, 0, TAG_BYTES, size - TAG_BYTES)
  }
  const decipher = createDecipheriv('aes-256-gcm', await derive(passphrase, salt), nonce)
  decipher.setAAD(Buffer.from(head))
  decipher.setAuthTag(tag)
  const encrypted = createReadStream(path, { start: head.length, end: size - TAG_BYTES - 1 })
  try {
    await pipeline(encrypted, decipher, (plain: AsyncIterable<Uint8Array>) => spread(plain, into))
  } catch (cause) {
    throw invalid(
      `Cannot read the backup ${path}: the passphrase does not open it, or it was changed`,
      cause,
    )
  }
}

async function spread(plain: AsyncIterable<Uint8Array>, into: string): Promise<void> {
  const reader = createByteReader(plain)
  for (;;) {
    const length = (await reader.take(4)).readUInt32BE()
    if (length === 0) break
    if (length > MAX_HEAD_BYTES) throw new RangeError('a name is too long')
    const line = JSON.parse((await reader.take(length)).toString()) as Pick<Packed, 'name'> & {
      readonly size: number
    }
    if (!/^\w[\w.-]*(\/\w[\w.-]*)?$/.test(line.name)) throw new RangeError('a name leads elsewhere')
    const to = join(into, line.name)
    await mkdir(dirname(to), { recursive: true, mode: 0o700 })
    await pipeline(
      reader.chunks(line.size),
      createWriteStream(to, { flags: 'wx', mode: 0o600, flush: true }),
    )
  }
  await reader.end() // Only at its end does the tag tell whether all of this was written by us.
}

async function readHeadOf(path: string) {
  const bytes = Buffer.alloc(MAX_HEAD_BYTES)
  await using file = await open(path).catch((cause: NodeJS.ErrnoException) => {
    throw invalid(`Cannot read the backup ${path}: ${cause.code}`, cause)
  })
  const { bytesRead } = await file.read(bytes, 0, bytes.length, 0)
  const text = bytes.toString('latin1', 0, bytesRead)
  const end = text.indexOf('\n', MAGIC.length) + 1
  const [, salt, nonce] =
    /^\{"salt":"([0-9a-f]{32})","nonce":"([0-9a-f]{24})"\}\n$/.exec(
      text.slice(MAGIC.length, end),
    ) ?? []
  if (!text.startsWith(MAGIC) || salt === undefined || nonce === undefined) {
    throw invalid(`Cannot read the backup ${path}: it is no backup of a CA`)
  }
  const bytesOf = (hex: string) => Buffer.from(hex, 'hex')
  return { head: text.slice(0, end), salt: bytesOf(salt), nonce: bytesOf(nonce) }
}

function invalid(message: string, cause?: unknown): CaError {
  return new CaError('CA_BACKUP_INVALID', message, { cause })
}
