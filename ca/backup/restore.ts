/** A CA from its backup: the same keys and ledger, and a log that goes on under a key of its own. */
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'

import { CaError } from '../error.ts'
import { LEDGER_FILE, type OpenDatabase, openDatabase } from '../issue/database.ts'
import { keepLogKey, LOG_KEY_FILE, readLogKey } from '../issue/log-key.ts'
import { hashReader, readSignedHead } from '../issue/log-store.ts'
import { openLog, planCommit } from '../issue/transparency.ts'
import { readSecret, type SecretSource } from '../keys/open-keys.ts'
import { openStateDir, type StateDir } from '../keys/state-dir.ts'
import { headSigner, type SignedHead } from '../log/head.ts'
import { readFrontier } from '../log/proof.ts'
import { RESTORE_ACTION, successionOf } from '../log/succession.ts'
import { type Frontier, rootOf } from '../log/tree.ts'
import { parseTrustDomain } from '../spiffe/index.ts'
import type { SharedLedger } from '../postgres/pool.ts'
import { stateFiles } from './backup.ts'
import { unpack } from './container.ts'

/** What a restored CA is made of. */
export interface RestoreInput {
  /** Absolute path of the backup. */
  readonly from: string
  /** Absolute: where the CA's state is to be; there is none yet. */
  readonly stateDir: string
  readonly passphrase: string
  /** That of the CA's keys, if they are encrypted. */
  readonly keyPassphrase?: SecretSource | undefined
  /** Who, for the log. */
  readonly by: string
  readonly now: () => Temporal.Instant
  /** An empty database that gets ledger and keys. @default both in `stateDir` */
  readonly shared?: SharedLedger | undefined
}

/** What became of it. */
export interface Restored {
  /** The last head of the backup. */
  readonly last: SignedHead
  /** The first head under the new key. */
  readonly head: SignedHead
}

/** Generations that bundle and deny-list skip: whatever was seen of those after the backup is older. */
const SKIPPED_GENERATIONS = 1_000_000

/**
 * Restores a CA, all of it or nothing.
 *
 * @throws {CaError} `CA_BACKUP_INVALID`, `CA_STATE_UNUSABLE` if there is a CA already
 */
export async function restoreState(input: RestoreInput): Promise<Restored> {
  const { from, stateDir, passphrase } = input
  const there = await readdir(stateDir).catch(() => [])
  if (there.length > 0) {
    throw new CaError(
      'CA_STATE_UNUSABLE',
      `Cannot restore a CA in ${stateDir}: there is one already, expected an empty or no directory`,
    )
  }
  const draft = `${stateDir}.${randomUUID()}`
  await mkdir(draft, { recursive: true, mode: 0o700 })
  try {
    await unpack(from, draft, passphrase)
    const restored = await goOn(input, await openStateDir(draft))
    if (input.shared) await moveTo(input.shared, draft)
    await rm(stateDir, { recursive: true, force: true })
    await rename(draft, stateDir)
    return restored
  } catch (cause) {
    await rm(draft, { recursive: true, force: true })
    throw cause
  }
}

/** Ledger and keys leave the draft for the database, all of them in one commit or none. */
async function moveTo({ ledger, env }: SharedLedger, draft: string): Promise<void> {
  const files = (await stateFiles(draft)).filter(({ name }) => !name.startsWith('federation/'))
  if (files.some(({ text }) => text.includes('REDOUBT SEALED'))) {
    throw new CaError(
      'CA_BACKUP_INVALID',
      'Cannot restore the CA in a database: its keys are encrypted by a passphrase of their own, and those in a database by that of the ledger; only a state directory can have it',
    )
  }
  const { openPostgres } = await import('../postgres/open-postgres.ts')
  const database = await openPostgres(ledger, { env, log: () => {} })
  try {
    await database.fill(join(draft, LEDGER_FILE), files)
  } finally {
    await database.close()
  }
  for (const { name } of files) await rm(join(draft, name))
  await rm(join(draft, LEDGER_FILE))
}

async function goOn(input: RestoreInput, state: StateDir): Promise<Restored> {
  const { by, now, keyPassphrase: source } = input
  const passphrase = source && (await readSecret('passphrase', source, {}))
  using database = openDatabase(join(state.path, LEDGER_FILE))
  const { queries } = database
  const last = await readSignedHead(queries)
  const oldKey = await state.read(LOG_KEY_FILE)
  if (!last || oldKey === undefined) {
    throw new CaError('CA_BACKUP_INVALID', 'Cannot restore the CA: its backup has no log')
  }
  // What the backup says of itself has to be true before anything is put on top of it.
  const trustDomain = parseTrustDomain(last.log)
  await openLog({ ...database, state, passphrase, trustDomain, now })
  const { privateKey } = generateKeyPairSync('ed25519')
  const signer = headSigner(privateKey, last.log)
  const succession = successionOf(last, await readLogKey(oldKey, passphrase), signer.keyId)
  const call = {
    at: now().epochMilliseconds,
    caller: by,
    action: RESTORE_ACTION,
    detail: JSON.stringify(succession),
    outcome: 'done',
  }
  const signed = (tree: Frontier): SignedHead =>
    signer.sign({ size: tree.size, root: rootOf(tree), time: now() })
  const tree = await readFrontier(hashReader(queries), last.size)
  const changes = forgotten(database)
  await database.write(
    { certificates: [], calls: [call], changes: await changes },
    {
      catchUp: () => Promise.resolve(),
      plan: (addition) => planCommit(tree, addition, signed, () => {}),
    },
  )
  await keepLogKey(state, privateKey, passphrase)
  const head = await readSignedHead(queries)
  if (!head) throw new CaError('CA_BACKUP_INVALID', 'Cannot restore the CA: its log has no head')
  return { last, head }
}

/**
 * What may have changed since the backup, unknown to it: tokens may have been used, and bundle and
 * deny-list may have had later generations.
 */
async function forgotten({ queries }: OpenDatabase) {
  const bundle = await queries
    .selectFrom('bundles')
    .select('generation')
    .orderBy('generation', 'desc')
    .limit(1)
    .executeTakeFirst()
  const generation = (bundle?.generation ?? 0) + SKIPPED_GENERATIONS
  return [
    queries.deleteFrom('join_tokens').where('used_at', 'is', null).compile(),
    queries.insertInto('bundles').values({ generation, digest: RESTORE_ACTION }).compile(),
    queries
      .updateTable('denials')
      .set(({ eb }) => ({ generation: eb('generation', '+', SKIPPED_GENERATIONS) }))
      .compile(),
  ]
}
