import { readFile } from 'node:fs/promises'

/** The version in the package's manifest. */
export async function version(): Promise<string> {
  const file = new URL('../../package.json', import.meta.url)
  const manifest = JSON.parse(await readFile(file, 'utf8')) as { readonly version: string }
  return manifest.version
}
