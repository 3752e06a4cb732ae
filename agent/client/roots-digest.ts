import { createHash } from 'node:crypto'

/** How the generation of a bundle is told to those who have its roots from the Workload API (trust.proto). */
export function rootsDigest(roots: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha256')
  for (const root of roots) hash.update(root)
  return hash.digest()
}
