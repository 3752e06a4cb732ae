import { createLive, type Live } from '#core/live.ts'
import { jwtKeysText } from '../jwt/jwt-svid-keys.ts'
import type { TrustBundle } from '../x509/index.ts'
import { bundleGeneration } from './bundle-generation.ts'
import type { Database } from './database.ts'

/** The trust bundle, and the one way to change it. */
export interface BundleSource {
  readonly live: Live<TrustBundle>
  /** Puts a bundle with `change` in force, under the next generation; changes take turns. */
  readonly publish: (
    change: Partial<Pick<TrustBundle, 'roots' | 'jwtKeys' | 'renewKeys' | 'federated'>>,
  ) => Promise<void>
}

/** Opens the bundle with the generation that its content has, or the next one. */
export async function createBundleSource(
  database: Database,
  first: Omit<TrustBundle, 'generation'>,
): Promise<BundleSource> {
  const numbered = async (bundle: Omit<TrustBundle, 'generation'>): Promise<TrustBundle> => {
    const { roots, jwtKeys = [], renewKeys = [], federated = [] } = bundle
    const renewed = renewKeys.map((keyId) => Buffer.from(`renew ${keyId}`))
    const parts = [
      ...roots,
      Buffer.from(jwtKeysText(jwtKeys)),
      ...renewed,
      ...federated.flatMap(foreignParts),
    ]
    return { ...bundle, generation: await bundleGeneration(database, parts) }
  }
  const source = createLive(await numbered(first))
  let last = Promise.resolve()
  return {
    live: source.live,
    publish(change) {
      const next = last.then(async () => {
        source.set(await numbered({ ...source.live.current, ...change }))
      })
      last = next.catch(() => undefined) // told to whoever made that change
      return next
    },
  }
}

function foreignParts({ trustDomain, roots, jwtKeys = [] }: TrustBundle): readonly Uint8Array[] {
  return [Buffer.from(`federated ${trustDomain}`), ...roots, Buffer.from(jwtKeysText(jwtKeys))]
}
