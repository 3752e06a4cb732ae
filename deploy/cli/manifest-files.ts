import { readdir, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'

import type { ManifestFile } from '#policy/index.ts'
import { DeployError } from '../error.ts'
import type { Io } from './command.ts'

const MANIFEST = /\.(ya?ml|json)$/

/**
 * The manifests that `paths` name: files as they are, directories with the `.yaml`, `.yml` and
 * `.json` files below them (hidden ones left out), `-` for standard input. Sorted within a directory.
 *
 * @throws {Error} for a path that is not there or may not be read
 */
export async function readManifestFiles(
  io: Pick<Io, 'cwd' | 'readFile' | 'readStdin'>,
  paths: readonly string[],
): Promise<readonly ManifestFile[]> {
  const files: ManifestFile[] = []
  for (const path of paths) {
    if (path === '-') files.push({ path, text: await io.readStdin() })
    else for (const file of await listFiles(io.cwd, path)) files.push(await readOne(io, file))
  }
  return files
}

async function listFiles(cwd: string, path: string): Promise<readonly string[]> {
  const at = resolve(cwd, path)
  const { isDirectory } = await stat(at).then(
    (found) => ({ isDirectory: found.isDirectory() }),
    (cause: NodeJS.ErrnoException) => refuse(path, cause),
  )
  if (!isDirectory) return [path]
  const below = await readdir(at, { recursive: true, withFileTypes: true })
  return below
    .filter((entry) => entry.isFile() && MANIFEST.test(entry.name))
    .map((entry) => join(path, join(entry.parentPath, entry.name).slice(at.length + 1)))
    .filter((file) => !/(^|\/)\.[^./]/.test(file.slice(path.length)))
    .sort()
}

async function readOne(io: Pick<Io, 'cwd' | 'readFile'>, path: string): Promise<ManifestFile> {
  const text = await io.readFile(resolve(io.cwd, path)).catch((cause) => refuse(path, cause))
  return { path, text }
}

function refuse(path: string, cause: NodeJS.ErrnoException): never {
  const why = cause.code === 'ENOENT' ? 'there is no such file or directory' : cause.message
  throw new DeployError(
    'DEPLOY_USAGE',
    `Cannot read manifests from ${JSON.stringify(path)}: ${why}`,
    { cause },
  )
}
