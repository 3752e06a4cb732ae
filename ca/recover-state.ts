/** Rotating the root of a CA that does not run: what is left when nothing it has is valid any more. */
import { access } from 'node:fs/promises'
import { join } from 'node:path'

import { adminIdOf } from './admin/administrator.ts'
import { rotate, type RotateStep } from './admin/rotate.ts'
import type { AuthorityEntry, Book, Rotation } from './authorities/book.ts'
import { readBook } from './authorities/journal.ts'
import { certificateOf } from './authorities/make.ts'
import type { CaConfig } from './config.ts'
import { CaError } from './error.ts'
import { LEDGER_FILE, readDatabase } from './issue/database.ts'
import { openAuthority } from './open-authority.ts'
import { serverIdOf } from './server-id.ts'
import { parseTrustDomain } from './spiffe/index.ts'

/** What a CA that does not run has become. */
export interface RecoveredState {
  /** Of the rotation; left out: none is under way. */
  readonly phase?: Rotation['phase']
  /** Why nothing can be signed still. */
  readonly fault?: string
}

/**
 * Takes a step in a state directory, waiting for nobody. Lives are those of the authorities that are
 * there; keys are files that are not encrypted.
 *
 * @param stateDir - Absolute.
 * @param by - Who, for the log.
 * @throws {CaError} `CA_STATE_UNUSABLE` if no CA has run there, or one runs now; `CA_ROTATION_REFUSED`
 */
export async function recoverState(
  stateDir: string,
  { by, step }: { readonly by: string; readonly step: RotateStep },
  now: () => Temporal.Instant,
): Promise<RecoveredState> {
  const config = await configOf(stateDir)
  const { trustDomain } = config
  await using authority = await openAuthority(config, now)
  const { authorities, bundle } = authority
  const nobody = { everyone: async () => [] }
  const transient = [serverIdOf(trustDomain), adminIdOf(trustDomain)]
  const deps = { ...authority, now, subscribers: nobody, transient, bundle }
  await rotate(deps, { name: by }, { step, force: true })
  const { rotation } = authorities.book.current
  const fault = authorities.fault()
  return { ...(rotation && { phase: rotation.phase }), ...(fault !== undefined && { fault }) }
}

async function configOf(stateDir: string): Promise<CaConfig> {
  const nothing = (cause?: unknown) =>
    new CaError(
      'CA_STATE_UNUSABLE',
      `Cannot rotate the root in ${stateDir}: there is none, expected the state of a CA that has run`,
      { cause },
    )
  const file = join(stateDir, LEDGER_FILE)
  await access(file).catch((cause: unknown) => {
    throw nothing(cause)
  })
  using database = readDatabase(file)
  const book = await readBook(database.queries)
  const root = book?.authorities.find(({ kind }) => kind === 'root')
  if (!book || !root) throw nothing()
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
  }
}

function longest({ authorities }: Book, wanted: AuthorityEntry['kind']): Temporal.Duration {
  const lives = authorities
    .filter(({ kind }) => kind === wanted)
    .map(({ issuedAt, notAfter }) => notAfter - issuedAt)
  return Temporal.Duration.from({ milliseconds: Math.max(...lives) })
}
