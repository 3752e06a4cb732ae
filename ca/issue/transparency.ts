/**
 * The log of all that the CA ever did, as a tree that grows with the ledger: what is committed there
 * is, in the same commit, a leaf here, under a head that the log's own key has signed.
 */
import type { KeyObject } from 'node:crypto'
import type { CompiledQuery } from 'kysely'

import type { StateDir } from '../keys/state-dir.ts'
import type { ConsistencyProof, InclusionProof } from '../log/document.ts'
import { callLeaf, certificateLeaf } from '../log/entry.ts'
import { type HeadSigner, headSigner, isSignedHead, type SignedHead } from '../log/head.ts'
import { readFrontier } from '../log/proof.ts'
import { type Frontier, grow, rootOf } from '../log/tree.ts'
import type { TrustDomain } from '../spiffe/index.ts'
import type { Batch, BatchEntry } from './batch-writer.ts'
import type { CallRow, CertificateRow, Database, LogHeadRow } from './database.ts'
import { openLogKey, unusableLog } from './log-key.ts'
import { proveCertificate, proveSince } from './log-prover.ts'
import { readSeenHead, SEEN_HEAD_FILE, writeSeenHead } from './log-seen.ts'
import { countLeaves, hashReader, readSignedHead } from './log-store.ts'

/** What enters the log together. */
export interface LogAddition {
  readonly certificates: readonly CertificateRow[]
  readonly calls: readonly CallRow[]
  readonly changes: readonly CompiledQuery[]
}

/** A commit that is ready to be written, and what makes it the log's newest once it has been. */
export interface PlannedCommit {
  readonly batch: Batch
  readonly done: () => void
}

/** What a writer asks of the log, inside its transaction. */
export interface LogPlanner {
  /** Takes note of what others have appended. @throws {CaError} `CA_STATE_UNUSABLE` */
  readonly catchUp: (inside: Database) => Promise<void>
  /** A commit for `addition`. One at a time: each is built on the one before. */
  readonly plan: (addition: LogAddition) => PlannedCommit
}

/** The log of a CA that is open. */
export interface TransparencyLog extends LogPlanner {
  /** What heads are checked by. */
  readonly publicKey: KeyObject
  /** The tree as it is, signed now. */
  readonly head: () => Promise<SignedHead>
  /** Notes, outside the database, how far the log has come: cutting it back is then seen. */
  readonly keepSeen: () => Promise<void>
  /** The proof for the certificate with this serial; `undefined` if there is none. @throws {CaError} `CA_LOG_INVALID` */
  readonly prove: (serial: string) => Promise<InclusionProof | undefined>
  /**
   * That the log has only grown since it had `size` entries.
   *
   * @throws {CaError} `CA_LOG_INVALID` if it never had so many
   */
  readonly proveSince: (size: number) => Promise<ConsistencyProof>
}

/** What opening the log needs. */
export interface OpenLogInput {
  readonly queries: Database
  /** Where its key is. */
  readonly state: StateDir
  /** That of the CA's keys; left out: its key is not encrypted. */
  readonly passphrase?: string | undefined
  /** Where the head that was last seen is. @default state */
  readonly seen?: StateDir
  readonly trustDomain: TrustDomain
  readonly now: () => Temporal.Instant
  /** Whether others append to it, too. */
  readonly isShared: boolean
}

/**
 * Opens the log in the database, making its key if there is none, and signing what a migration left
 * unsigned.
 *
 * @throws {CaError} `CA_STATE_UNUSABLE` if the key is lost or unreadable, or the log is not what its
 *   last head says
 */
export async function openLog(input: OpenLogInput): Promise<TransparencyLog> {
  const { queries, state, seen: witness = state, trustDomain, now, isShared } = input
  // Others append meanwhile: head and tree are those of one instant.
  const at = <Result>(read: (inside: Database) => Promise<Result>): Promise<Result> =>
    isShared
      ? queries.transaction().setIsolationLevel('repeatable read').execute(read)
      : read(queries)
  const { stored, found } = await at(async (inside) => ({
    stored: await readSignedHead(inside),
    found: await readTree(inside, await countLeaves(inside)),
  }))
  const seen = await readSeenHead(witness)
  const signer = headSigner(await openLogKey(state, stored ?? seen, input.passphrase), trustDomain)
  let tree = found
  const signed = (of: Frontier): SignedHead =>
    signer.sign({ size: of.size, root: rootOf(of), time: now() })
  if (stored) assertNewest(stored, tree, signer)
  if (seen) await assertGrown(queries, seen, tree, signer)
  // A migration has worked out leaves, and cannot sign.
  if (!stored && tree.size > 0) await writeHead(queries, signed(tree))

  const catchUp = async (inside: Database): Promise<void> => {
    const newest = await readSignedHead(inside)
    const size = newest?.size ?? 0
    if (size === tree.size) return
    if (size < tree.size) throw unusableLog(`it has lost entries, from ${size} to ${tree.size}`)
    const grown = await readTree(inside, size)
    if (newest) assertNewest(newest, grown, signer)
    if (grown.size > tree.size) tree = grown // unless it has grown while we read
  }
  const head = async (): Promise<SignedHead> => {
    if (isShared) await at(catchUp)
    return signed(tree)
  }
  return {
    publicKey: signer.publicKey,
    catchUp,
    plan(addition) {
      return planCommit(tree, addition, signed, (next) => {
        if (next.size > tree.size) tree = next
      })
    },
    head,
    async keepSeen() {
      // What others have appended counts, too; without a database, what is known here.
      if (isShared) await at(catchUp).catch(() => undefined)
      await writeSeenHead(witness, signed(tree))
    },
    prove: async (serial) => proveCertificate(queries, await head(), serial),
    proveSince: async (size) => proveSince(queries, await head(), size),
  }
}

/** The commit that adds `addition` to `tree`. Pure, but for `done`, which takes the tree that it makes. */
export function planCommit(
  tree: Frontier,
  addition: LogAddition,
  signed: (tree: Frontier) => SignedHead,
  take: (next: Frontier) => void,
): PlannedCommit {
  const entries = entriesOf(addition)
  const leaves = entries.map(({ leaf }) => leaf)
  const { tree: next, kept } = grow(tree, leaves)
  const head = headRow(signed(next))
  const batch = { from: tree.size, entries, kept, head, changes: addition.changes }
  return { batch, done: () => take(next) }
}

function entriesOf({ certificates, calls }: LogAddition): readonly BatchEntry[] {
  return [
    ...certificates.map((row): BatchEntry => {
      return { kind: 'certificate', row, leaf: certificateLeaf(row, row.der) }
    }),
    ...calls.map((row): BatchEntry => ({ kind: 'call', row, leaf: callLeaf(row) })),
  ]
}

async function readTree(queries: Database, size: number): Promise<Frontier> {
  return readFrontier(hashReader(queries), size).catch((cause: unknown) => {
    throw unusableLog((cause as Error).message, cause)
  })
}

async function writeHead(queries: Database, head: SignedHead): Promise<void> {
  await queries
    .insertInto('log_head')
    .values({ ...headRow(head), only: 0 })
    .execute()
}

/** A log that was cut off, or continued by somebody else, is not gone on with: that would be a fork. */
function assertNewest(head: SignedHead, tree: Frontier, { publicKey }: HeadSigner): void {
  if (!isSignedHead(head, publicKey)) throw unusableLog('its last head is not signed by its key')
  if (head.size !== tree.size) {
    throw unusableLog(`it has ${tree.size} entries, expected the ${head.size} of its last head`)
  }
  if (head.root !== rootHex(tree)) {
    throw unusableLog('its entries are not those of its last head')
  }
}

/** @throws {CaError} `CA_STATE_UNUSABLE` if the log is not one that follows on `seen` */
async function assertGrown(
  queries: Database,
  seen: SignedHead,
  tree: Frontier,
  { publicKey }: HeadSigner,
): Promise<void> {
  if (!isSignedHead(seen, publicKey)) {
    throw unusableLog(`the head in ${SEEN_HEAD_FILE} is not signed by its key`)
  }
  if (seen.size > tree.size) {
    throw unusableLog(
      `it has ${tree.size} entries, and had ${seen.size} before; an older ledger was put in its place, which redoubt ca restore does without a fork`,
    )
  }
  const then = await readTree(queries, seen.size)
  if (rootHex(then) !== seen.root) {
    throw unusableLog(`its first ${seen.size} entries are not those that it had before`)
  }
}

function rootHex(tree: Frontier): string {
  return Buffer.from(rootOf(tree)).toString('hex')
}

function headRow({ log, size, root, time, keyId, signature }: SignedHead): LogHeadRow {
  return { log, size, root, time, key_id: keyId, signature }
}
