/** Rotating the root of a CA that does not run: what is left when nothing it has is valid any more. */
import { access } from 'node:fs/promises'
import { join } from 'node:path'

import { adminIdOf } from './admin/administrator.ts'
import { rotate, type RotateStep } from './admin/rotate.ts'
import { activePair, type AuthorityEntry, type Book, type Rotation } from './authorities/book.ts'
import { readBook } from './authorities/journal.ts'
import { certificateOf } from './authorities/make.ts'
import type { CaConfig } from './config.ts'
import { CaError } from './error.ts'
import { LEDGER_FILE, readDatabase } from './issue/database.ts'
import { KEYS_FOLDER, openFileKeys } from './keys/file-keys.ts'
import { readSecret, type SecretSource } from './keys/open-keys.ts'
import { openAuthority } from './open-authority.ts'
import type { SharedLedger } from './postgres/pool.ts'
import { serverIdOf } from './server-id.ts'
import { parseTrustDomain } from './spiffe/index.ts'

/** What a CA that does not run has become. */
export interface RecoveredState {
  /** Of the rotation; left out: none is under way. */
  readonly phase?: Rotation['phase']
  /** Why nothing can be signed still. */
  readonly fault?: string
}

/** What is to be done, and by whom. */
export interface RecoveryStep {
  readonly by: string
  readonly step: RotateStep
  readonly keyPassphrase?: SecretSource | undefined
}

/**
 * Takes a step in a state directory, waiting for nobody. Lives are those of the authorities that are
 * there; keys are files.
 *
 * @param stateDir - Absolute.
 * @param by - Who, for the log.
 * @param keyPassphrase - That of the keys, if they are encrypted.
 * @param shared - Where the ledger is. @default the state directory
 * @throws {CaError} `CA_STATE_UNUSABLE` if no CA has run there, or one runs now; `CA_ROTATION_REFUSED`
 */
export async function recoverState(
  stateDir: string,
  { by, step, keyPassphrase }: RecoveryStep,
  now: () => Temporal.Instant,
  shared?: SharedLedger,
): Promise<RecoveredState> {
  const passphrase = keyPassphrase && { passphrase: keyPassphrase }
  const keys = { kind: 'files', ...passphrase } as const
  const config = { ...configOf(stateDir, await readKept(stateDir, shared), shared), keys }
  const { trustDomain } = config
  const secret = keyPassphrase && (await readSecret('passphrase', keyPassphrase, {}))
  await using authority = await openAuthority(config, now, {
    openKeys: (at) => openFileKeys(join(at, KEYS_FOLDER), secret),
    ...(shared && { env: shared.env }),
  })
  const { authorities, bundle } = authority
  const nobody = { everyone: async () => [] }
  const transient = [serverIdOf(trustDomain), adminIdOf(trustDomain)]
  const deps = { ...authority, now, subscribers: nobody, transient, bundle }
  await rotate(deps, { name: by }, { step, force: true })
  const { rotation } = authorities.book.current
  const fault = authorities.fault()
  return { ...(rotation && { phase: rotation.phase }), ...(fault !== undefined && { fault }) }
}

/** The book of a CA that has run. @throws {CaError} `CA_STATE_UNUSABLE` if none has */
async function readKept(stateDir: string, shared: SharedLedger | undefined): Promise<Book> {
  const nothing = (cause?: unknown) =>
    new CaError(
      'CA_STATE_UNUSABLE',
      `Cannot rotate the root in ${shared ? 'the database' : stateDir}: there is none, expected the state of a CA that has run`,
      { cause },
    )
  if (shared) {
    const { readPostgres } = await import('./postgres/read-postgres.ts')
    await using database = await readPostgres(shared.ledger, shared.env)
    return (await readBook(database.queries)) ?? Promise.reject(nothing())
  }
  const file = join(stateDir, LEDGER_FILE)
  await access(file).catch((cause: unknown) => {
    throw nothing(cause)
  })
  using database = readDatabase(file)
  return (await readBook(database.queries)) ?? Promise.reject(nothing())
}

function configOf(stateDir: string, book: Book, shared: SharedLedger | undefined): CaConfig {
  const { root } = activePair(book)
  const [uri = ''] = certificateOf(root).uriSans
  const leaf = Temporal.Duration.from({ seconds: 1 }) // none is issued
  return {
    trustDomain: parseTrustDomain(uri.replace('spiffe://', '')),
    stateDir,
    listen: { host: '127.0.0.1', port: 0 },
    leafTtl: leaf,
    maxLeafTtl: leaf,
    caTtl: longest(book, 'issuing'),
    rootTtl: longest(book, 'root'),
    ...(shared && { ledger: shared.ledger }),
  }
}

function longest({ authorities }: Book, wanted: AuthorityEntry['kind']): Temporal.Duration {
  const lives = authorities
    .filter(({ kind }) => kind === wanted)
    .map(({ issuedAt, notAfter }) => notAfter - issuedAt)
  return Temporal.Duration.from({ milliseconds: Math.max(...lives) })
}
