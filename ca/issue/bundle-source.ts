import { createLive, type Watched } from '#core/live.ts'
import { jwtKeysText } from '../jwt/jwt-svid-keys.ts'
import type { TrustBundle } from '../x509/index.ts'
import { bundleDigest, bundleGeneration, newestOf } from './bundle-generation.ts'
import type { Database } from './database.ts'

/** The trust bundle, and the one way to change it. */
export interface BundleSource {
  readonly live: Watched<TrustBundle>
  /**
   * Puts a bundle with `change` in force, under the next generation; changes take turns. One whose
   * authorities are not the newest of the database waits for those.
   *
   * @param book - Version of the authorities of `change.roots`.
   */
  readonly publish: (
    change: Partial<Pick<TrustBundle, 'roots' | 'jwtKeys' | 'renewKeys' | 'federated'>>,
    book?: number,
  ) => Promise<void>
  /** Takes the number under which another CA on the database has the same bundle, if that is higher. */
  readonly refresh: () => Promise<void>
}

type Content = Omit<TrustBundle, 'generation'>

/**
 * Opens the bundle with the generation that its content has, or the next one.
 *
 * @param book - Version of the authorities that are in it.
 */
export async function createBundleSource(
  database: Database,
  first: Content,
  book: number,
): Promise<BundleSource> {
  // Nobody is told of the first before the newest authorities were looked at.
  const generation = (await bundleGeneration(database, digestOf(first))) ?? 0
  const source = createLive<TrustBundle>({ ...first, generation })
  let wanted = first
  let version = book
  let last = Promise.resolve()
  const inTurn = (run: () => Promise<void>): Promise<void> => {
    const next = last.then(run)
    last = next.catch(() => undefined) // told to whoever made that change
    return next
  }
  const take = (found: number | undefined): void => {
    if (found !== undefined) source.set({ ...wanted, generation: found })
  }
  return {
    live: source.live,
    publish: (change, of = version) =>
      inTurn(async () => {
        wanted = { ...wanted, ...change }
        version = Math.max(version, of)
        take(await bundleGeneration(database, digestOf(wanted), version))
      }),
    refresh: () =>
      inTurn(async () => {
        take(await newestOf(database, digestOf(wanted), source.live.current.generation + 1))
      }),
  }
}

function digestOf({ roots, jwtKeys = [], renewKeys = [], federated = [] }: Content): string {
  return bundleDigest([
    ...roots,
    Buffer.from(jwtKeysText(jwtKeys)),
    ...renewKeys.map((keyId) => Buffer.from(`renew ${keyId}`)),
    ...federated.flatMap(foreignParts),
  ])
}

function foreignParts({ trustDomain, roots, jwtKeys = [] }: TrustBundle): readonly Uint8Array[] {
  return [Buffer.from(`federated ${trustDomain}`), ...roots, Buffer.from(jwtKeysText(jwtKeys))]
}
