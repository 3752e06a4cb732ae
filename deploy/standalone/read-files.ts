/** The manifests that paths mean: files as given, of directories every `.yaml`, `.yml` and `.json`. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'

import { DeployError } from '../error.ts'
import type { SourceFile } from './messages.ts'

const MANIFEST = /\.(ya?ml|json)$/i

/** A path of the user's and what it is. */
export interface SourceRoot {
  readonly path: string
  readonly isDirectory: boolean
}

/** @throws {DeployError} `DEPLOY_MANIFESTS_INVALID` if a path is not there */
export async function readRoots(
  paths: readonly string[],
  cwd: string,
): Promise<readonly SourceRoot[]> {
  return Promise.all(
    paths.map(async (path) => {
      const found = await stat(resolve(cwd, path)).catch((cause: NodeJS.ErrnoException) => {
        const why = cause.code === 'ENOENT' ? 'there is no such file or directory' : cause.message
        throw new DeployError(
          'DEPLOY_MANIFESTS_INVALID',
          `Cannot read manifests from ${path}: ${why}`,
          { cause },
        )
      })
      return { path, isDirectory: found.isDirectory() }
    }),
  )
}

/** Every manifest of the roots, in order of path; one that vanishes meanwhile is left out. */
export async function readFiles(
  roots: readonly SourceRoot[],
  cwd: string,
): Promise<readonly SourceFile[]> {
  const lists = await Promise.all(
    roots.map(async ({ path, isDirectory }) => (isDirectory ? listManifests(path, cwd) : [path])),
  )
  const files = await Promise.all(
    [...new Set(lists.flat())].map(async (path) => {
      const text = await readFile(resolve(cwd, path), 'utf8').catch(ignoreMissing)
      return text === undefined ? [] : [{ path, text }]
    }),
  )
  return files.flat()
}

/** Hidden entries are left out: editors' drafts, and the generations behind a mounted ConfigMap. */
async function listManifests(path: string, cwd: string): Promise<readonly string[]> {
  const names = await readdir(resolve(cwd, path)).catch(ignoreMissing)
  return (names ?? [])
    .filter((name) => MANIFEST.test(name) && !name.startsWith('.'))
    .sort()
    .map((name) => join(path, name))
}

/** Folders with manifests right in those of the roots, which nobody reads unless they are roots too; in order. */
export async function foldersLeftOut(
  roots: readonly SourceRoot[],
  cwd: string,
): Promise<readonly string[]> {
  const read = new Set(roots.map(({ path }) => resolve(cwd, path)))
  const found = await Promise.all(
    roots
      .filter(({ isDirectory }) => isDirectory)
      .map(async ({ path }) => {
        const options = { withFileTypes: true } as const
        const entries = (await readdir(resolve(cwd, path), options).catch(ignoreMissing)) ?? []
        return entries
          .filter((one) => one.isDirectory() && !one.name.startsWith('.'))
          .map(({ name }) => join(path, name))
      }),
  )
  const others = [...new Set(found.flat())].filter((path) => !read.has(resolve(cwd, path)))
  const manifests = await Promise.all(others.map((path) => listManifests(path, cwd)))
  return others.filter((_, index) => (manifests[index]?.length ?? 0) > 0).sort()
}

function ignoreMissing(cause: NodeJS.ErrnoException): undefined {
  if (cause.code !== 'ENOENT' && cause.code !== 'EISDIR') throw cause
  return undefined
}
