/** The files of a CA that is plugged in, read so that they belong together. */
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'

import { CaError } from '../error.ts'

/** What the files say. */
export interface PluggedFiles {
  /** PEM: the certificate that signs. */
  readonly certificate: string
  /** PEM; left out where the key is in the CA's key store. */
  readonly key?: string
  /** PEM: what leads from the certificate to a root; the certificate itself and the root may be in it. */
  readonly chain: string
  /** PEM: one or more roots. */
  readonly roots: string
  /** Changes when any of the files does. */
  readonly stamp: string
  /** Whether others than their owner and group may read the key. */
  readonly isKeyOpen: boolean
}

interface Layout {
  readonly certificate: string
  readonly key: string
  readonly chain: string
  readonly roots: string
}

/** Istio's `cacerts` (istio-semantics §15.5), and that of a Secret of type kubernetes.io/tls. */
const LAYOUTS: readonly Layout[] = [
  {
    certificate: 'ca-cert.pem',
    key: 'ca-key.pem',
    chain: 'cert-chain.pem',
    roots: 'root-cert.pem',
  },
  { certificate: 'tls.crt', key: 'tls.key', chain: 'tls.crt', roots: 'ca.crt' },
]

/** Bytes of one file: a chain of the largest certificates that are read. */
const MAX_FILE_BYTES = 256 * 1024

/** Times that files are read again which change while they are being read. */
const ATTEMPTS = 5

/**
 * The files in `dir`, all of one state of it: a directory that is being replaced, by a rename of
 * files or of a symbolic link, is read again.
 *
 * @throws {CaError} `CA_CONFIG_INVALID` naming what is missing, or cannot be read
 */
export async function readPluggedFiles(dir: string): Promise<PluggedFiles> {
  for (let attempt = 1; ; attempt += 1) {
    const layout = await layoutOf(dir)
    const before = await stampOf(dir, layout)
    const files = await readAll(dir, layout)
    const stamp = await stampOf(dir, layout)
    if (stamp === before) return { ...files, stamp, isKeyOpen: await isOpen(join(dir, layout.key)) }
    if (attempt === ATTEMPTS) throw refused(dir, 'its files change while they are being read')
  }
}

/** What changes with the files in `dir`; cheap. */
export async function pluggedStamp(dir: string): Promise<string> {
  return stampOf(dir, await layoutOf(dir))
}

async function layoutOf(dir: string): Promise<Layout> {
  for (const layout of LAYOUTS) if (await exists(join(dir, layout.certificate))) return layout
  const names = LAYOUTS.map(({ certificate }) => certificate).join(' nor ')
  throw refused(dir, `it has neither ${names}`)
}

/** Identity, size and time of each file that is behind the names, after all symbolic links. */
async function stampOf(dir: string, layout: Layout): Promise<string> {
  const parts = Object.values(layout).map(async (name) => {
    const found = await stat(join(dir, name), { bigint: true }).catch(ifMissing)
    return found ? `${found.dev}.${found.ino}.${found.size}.${found.mtimeNs}.${found.ctimeNs}` : '-'
  })
  return (await Promise.all(parts)).join(' ')
}

async function readAll(
  dir: string,
  layout: Layout,
): Promise<Pick<PluggedFiles, 'certificate' | 'key' | 'chain' | 'roots'>> {
  const read = async (name: string): Promise<string | undefined> => {
    const path = join(dir, name)
    try {
      const { size } = await stat(path)
      if (size > MAX_FILE_BYTES) throw refused(dir, `${name} has ${size} bytes`)
      return await readFile(path, 'utf8')
    } catch (cause) {
      if (cause instanceof CaError) throw cause
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw refused(dir, `${name} cannot be read: ${(cause as Error).message}`, cause)
    }
  }
  const [certificate, key, chain, roots] = await Promise.all([
    read(layout.certificate),
    read(layout.key),
    read(layout.chain),
    read(layout.roots),
  ])
  const missing = Object.entries({
    [layout.certificate]: certificate,
    [layout.chain]: chain,
    [layout.roots]: roots,
  }).flatMap(([name, text]) => (text === undefined ? [name] : []))
  if (certificate === undefined || chain === undefined || roots === undefined) {
    throw refused(dir, `it has no ${missing.join(', ')}`)
  }
  return { certificate, ...(key === undefined ? {} : { key }), chain, roots }
}

async function isOpen(key: string): Promise<boolean> {
  const found = await stat(key).catch(ifMissing)
  return found !== undefined && (found.mode & 0o007) !== 0
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(ifMissing)) !== undefined
}

function ifMissing(cause: NodeJS.ErrnoException): undefined {
  if (cause.code !== 'ENOENT' && cause.code !== 'ENOTDIR') throw cause
}

function refused(dir: string, why: string, cause?: unknown): CaError {
  return new CaError('CA_CONFIG_INVALID', `Cannot use the CA in ${dir}: ${why}`, { cause })
}
