/** The CA's log, for commands: of the mesh that runs on a state directory, or of what it left there. */
import { createPublicKey, type KeyObject } from 'node:crypto'
import { join } from 'node:path'

import { type AuditReport, type CaLogReader, openLogState, openSharedLog } from '#ca/index.ts'
import {
  type ConsistencyProof,
  type InclusionProof,
  readHead,
  type SignedHead,
} from '#ca/log/index.ts'
import type { ReadLogRequest } from '#ca/proto/gen/admin.ts'
import { DeployError } from '../error.ts'
import { askMesh } from '../standalone/admin-client.ts'
import { lockOwner } from '../standalone/lock.ts'
import { stateDirOf } from '../standalone/state-dir.ts'
import { CA_OPTIONS, openCaClient } from './ca-client.ts'
import { type CommandOption, type Input, type Io, textOption } from './command.ts'
import { SHARED_LEDGER_OPTIONS, sharedLedger } from './ledger-options.ts'
import { readText } from './read-text.ts'

/** How commands find a log: that of a CA, or of a database whether one runs on it or not. */
export const LOG_OPTIONS: readonly CommandOption[] = [...CA_OPTIONS, ...SHARED_LEDGER_OPTIONS]

/** The public key to check proofs with; every command that checks one has it. */
export const LOG_KEY_OPTION: CommandOption = {
  flags: '--log-key <file>',
  summary: "the log's public key, PEM (default: that of the log here)",
}

/** A log that answers. Disposing it lets go of what it read from. */
export type OpenCaLog = CaLogReader & Disposable

/**
 * Opens the log of `--state`, of the CA of `--ca`, or in the database of `--ledger`.
 *
 * @throws {Error} if there is none, or what runs there does not answer
 */
export async function openCaLog(io: Io, input: Input, signal: AbortSignal): Promise<OpenCaLog> {
  if (textOption(input, 'ca') !== undefined) return remoteLog(io, input, signal)
  const state = stateDirOf(textOption(input, 'state'), io.env, io.cwd)
  const isGiven = textOption(input, 'ledger') !== undefined
  if (isGiven || !(await lockOwner(state))) {
    const shared = await sharedLedger(io, input, state)
    return shared ? openSharedLog(shared) : openLogState(join(state, 'ca'))
  }
  const ask = (path: string): Promise<unknown> => askMesh(state, `/ca/log/${path}`, io, signal)
  return {
    publicKeyPem: (await ask('key')) as string,
    head: async () => (await ask('head')) as SignedHead,
    prove: async (serial) => {
      const proof = await ask(`prove?serial=${encodeURIComponent(serial)}`)
      return (proof as InclusionProof | null) ?? undefined
    },
    proveSince: async (size) => (await ask(`prove-since?size=${size}`)) as ConsistencyProof,
    audit: async () => (await ask('audit')) as AuditReport,
    [Symbol.dispose]: () => {},
  }
}

/** That of a CA elsewhere. The owner of a mesh is asked for no certificate to read the log of it. */
async function remoteLog(io: Io, input: Input, signal: AbortSignal): Promise<OpenCaLog> {
  const ca = await openCaClient(io, input, signal)
  const read = async (wanted: ReadLogRequest['wanted']): Promise<unknown> =>
    JSON.parse((await ca.call('readLog', { wanted }, signal)).json)
  return {
    publicKeyPem: (await read({ $case: 'publicKey', publicKey: true })) as string,
    head: async () => (await read({ $case: 'head', head: true })) as SignedHead,
    prove: async (serial) =>
      ((await read({ $case: 'serial', serial })) as InclusionProof | null) ?? undefined,
    proveSince: async (size) =>
      (await read({ $case: 'since', since: BigInt(size) })) as ConsistencyProof,
    audit: async () => (await read({ $case: 'audit', audit: true })) as AuditReport,
    [Symbol.dispose]: ca[Symbol.dispose],
  }
}

/** A public key that somebody was given. @throws {DeployError} `DEPLOY_USAGE` */
export async function readLogKey(io: Io, file: string): Promise<KeyObject> {
  const text = await readText(io, file)
  try {
    return createPublicKey(text)
  } catch (cause) {
    throw usage(`Cannot read the key in ${file}: it is not a public key in PEM`, cause)
  }
}

/** A head that was kept. @throws {Error} if it is none */
export async function readHeadFile(io: Io, file: string): Promise<SignedHead> {
  return readHead(await readText(io, file))
}

function usage(message: string, cause: unknown): DeployError {
  return new DeployError('DEPLOY_USAGE', message, { cause })
}
