import { generateKeyPairSync } from 'node:crypto'

import { type KeyStore, localKey, type SigningKey } from './signing-key.ts'

/** Keys that end with the process: nothing to steal from a disk, and another CA after a restart. */
export function createMemoryKeys(): KeyStore {
  const keys = new Map<string, SigningKey>()
  const keep = (key: SigningKey): SigningKey => {
    keys.set(key.id, key)
    return key
  }
  return {
    name: 'memory',
    isLasting: false,
    create: async () =>
      keep(localKey(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)),
    open: async (id) => keys.get(id),
    take: async (key) => keep(localKey(key)),
    async remove(id) {
      keys.delete(id)
    },
    async [Symbol.asyncDispose]() {
      keys.clear()
    },
  }
}
