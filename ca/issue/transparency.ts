/**
 * The log of all that the CA ever did, as a tree that grows with the ledger: what is committed there
 * is, in the same commit, a leaf here, under a head that the log's own key has signed.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import type { CompiledQuery } from 'kysely'

import { CaError } from '../error.ts'
import type { StateDir } from '../keys/state-dir.ts'
import type { ConsistencyProof, InclusionProof } from '../log/document.ts'
import { callLeaf, certificateLeaf } from '../log/entry.ts'
import { type HeadSigner, headSigner, isSignedHead, type SignedHead } from '../log/head.ts'
import { consistencyPath, inclusionPath, readFrontier } from '../log/proof.ts'
import { type Frontier, grow, rootOf } from '../log/tree.ts'
import type { TrustDomain } from '../spiffe/index.ts'
import type { Batch } from './batch-writer.ts'
import type { CallRow, CertificateRow, Database, LogHeadRow } from './database.ts'
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

/** The log of a CA that is open. */
export interface TransparencyLog {
  /** What heads are checked by. */
  readonly publicKey: KeyObject
  readonly size: () => number
  /** A commit for `addition`. One at a time: each is built on the one before. */
  readonly plan: (addition: LogAddition) => PlannedCommit
  /** The tree as it is, signed now. */
  readonly head: () => SignedHead
  /** The proof for the certificate with this serial; `undefined` if there is none. @throws {CaError} `CA_LOG_INVALID` */
  readonly prove: (serial: string) => Promise<InclusionProof | undefined>
  /**
   * That the log has only grown since it had `size` entries.
   *
   * @throws {CaError} `CA_LOG_INVALID` if it never had so many
   */
  readonly proveSince: (size: number) => Promise<ConsistencyProof>
}

/** File of the log's key. */
export const LOG_KEY_FILE = 'log-key.pem'

/**
 * Opens the log in `queries`, making its key if there is none.
 *
 * @throws {CaError} `CA_STATE_UNUSABLE` if the key is lost or unreadable, or the log is not what its
 *   last head says
 */
export async function openLog(
  queries: Database,
  state: StateDir,
  { trustDomain, now }: { readonly trustDomain: TrustDomain; readonly now: () => Temporal.Instant },
): Promise<TransparencyLog> {
  const stored = await readSignedHead(queries)
  const signer = headSigner(await openKey(state, stored), trustDomain)
  const read = hashReader(queries)
  const size = await countLeaves(queries)
  let tree = await readFrontier(read, size).catch(refuse)
  if (stored) assertNewest(stored, tree, signer)

  const signed = (of: Frontier): SignedHead =>
    signer.sign({ size: of.size, root: rootOf(of), time: now() })
  return {
    publicKey: signer.publicKey,
    size: () => tree.size,
    plan({ certificates, calls, changes }) {
      const entries = [
        ...certificates.map((row) => ({
          kind: 'certificate' as const,
          row,
          leaf: certificateLeaf(row, row.der),
        })),
        ...calls.map((row) => ({ kind: 'call' as const, row, leaf: callLeaf(row) })),
      ]
      const { tree: next, kept } = grow(
        tree,
        entries.map(({ leaf }) => leaf),
      )
      const head = headRow(signed(next))
      return {
        batch: { from: tree.size, entries, kept, head, changes },
        done() {
          tree = next
        },
      }
    },
    head: () => signed(tree),
    prove: (serial) => prove(queries, serial, signed(tree)),
    async proveSince(first) {
      const head = signed(tree)
      if (!Number.isSafeInteger(first) || first < 1 || first > head.size) {
        throw new CaError(
          'CA_LOG_INVALID',
          `Cannot prove growth since ${first} entries: the log has ${head.size}, expected 1 to that`,
        )
      }
      const path = await consistencyPath(read, first, head.size)
      return { first, head, path: path.map(toHex) }
    },
  }
}

async function prove(
  queries: Database,
  serial: string,
  head: SignedHead,
): Promise<InclusionProof | undefined> {
  const row = await queries
    .selectFrom('certificates')
    .selectAll()
    .where('serial', '=', serial)
    .executeTakeFirst()
  if (!row) return undefined
  const { log_index: index, der: _, ...entry } = row
  const path = await inclusionPath(hashReader(queries), index, head.size)
  return { head, index, entry, path: path.map(toHex) }
}

async function openKey(state: StateDir, head: SignedHead | undefined): Promise<KeyObject> {
  const text = await state.read(LOG_KEY_FILE)
  if (text === undefined && head) {
    throw unusable(`its key ${LOG_KEY_FILE} is gone, and what it signed is there; put it back`)
  }
  if (text === undefined) {
    const { privateKey } = generateKeyPairSync('ed25519')
    await state.write(LOG_KEY_FILE, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())
    return privateKey
  }
  return parseLogKey(text)
}

/** @throws {CaError} `CA_STATE_UNUSABLE` */
export function parseLogKey(text: string): KeyObject {
  try {
    const key = createPrivateKey(text)
    if (key.asymmetricKeyType === 'ed25519') return key
  } catch (cause) {
    throw unusable(`its key ${LOG_KEY_FILE} cannot be read`, cause)
  }
  throw unusable(`its key ${LOG_KEY_FILE} is not Ed25519`)
}

/** A log that was cut off, or continued by somebody else, is not gone on with: that would be a fork. */
function assertNewest(head: SignedHead, tree: Frontier, { publicKey }: HeadSigner): void {
  if (!isSignedHead(head, publicKey)) throw unusable('its last head is not signed by its key')
  if (head.size !== tree.size) {
    throw unusable(`it has ${tree.size} entries, expected the ${head.size} of its last head`)
  }
  if (head.root !== toHex(rootOf(tree)))
    throw unusable('its entries are not those of its last head')
}

function refuse(cause: unknown): never {
  throw unusable((cause as Error).message, cause)
}

function unusable(why: string, cause?: unknown): CaError {
  return new CaError(
    'CA_STATE_UNUSABLE',
    `Cannot go on with the log: ${why} (redoubt ca log verify says more)`,
    { cause },
  )
}

function headRow({ log, size, root, time, keyId, signature }: SignedHead): LogHeadRow {
  return { log, size, root, time, key_id: keyId, signature }
}

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
