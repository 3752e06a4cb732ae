/**
 * An agent that no supervisor keeps: on a machine of its own it proves itself to the CA of a mesh
 * elsewhere, and serves the users of that machine whom it was told of.
 */
import { readFile } from 'node:fs/promises'
import { hostname } from 'node:os'

import { type Agent, type NodeProof, openAgent, readPeerCredentials } from '#agent/index.ts'
import { type SpiffeId, trustDomainOf } from '#ca/spiffe/index.ts'
import type { Clock } from '#core/clock.ts'
import type { Log } from '#core/log.ts'
import { DeployError } from '../error.ts'

/** By what it proves itself; files are read at each attempt. */
export type RemoteProof =
  | Extract<NodeProof, { kind: 'certificate' }>
  /** Good for one attestation: for the next one the file has to hold another. */
  | { readonly kind: 'join-token'; readonly tokenFile: string }

export interface RemoteAgentOptions {
  /** `host:port`, several with commas between. */
  readonly caAddress: string
  readonly agentId: SpiffeId
  /** DER: what the CA is judged by until it says more. */
  readonly roots: readonly Uint8Array[]
  /** Absolute. */
  readonly socketPath: string
  readonly proof: RemoteProof
  /** Who the processes of a user are, by the user's number. */
  readonly users: ReadonlyMap<number, SpiffeId>
}

export interface RemoteAgentDeps {
  readonly clock: Clock
  readonly now: () => Temporal.Instant
  readonly random: () => number
  readonly log: Log
}

/** Milliseconds between two looks for another join token. */
export const LOOK_MS = 5000

/**
 * Opens it; resolves once the CA has let it in.
 *
 * @param signal - Gives up waiting for that, and ends looking for join tokens.
 * @throws {AgentError} `AGENT_CONFIG_INVALID`, `AGENT_SOCKET_UNUSABLE`, `AGENT_ATTESTATION_REFUSED`
 */
export async function openRemoteAgent(
  { caAddress, agentId, roots, socketPath, proof, users }: RemoteAgentOptions,
  deps: RemoteAgentDeps,
  signal: AbortSignal,
): Promise<Agent> {
  const first = proof.kind === 'join-token' ? await readToken(proof.tokenFile) : undefined
  const agent = await openAgent(
    {
      trustDomain: trustDomainOf(agentId),
      agentId,
      caAddress,
      name: hostname(),
      socketPath,
      ...(first === undefined ? {} : { joinToken: first }),
      ...(proof.kind === 'certificate' && { proof }),
    },
    {
      ...deps,
      caRoots: roots,
      identify: async (socket) => users.get(readPeerCredentials(socket).uid),
      signal,
    },
  )
  if (proof.kind === 'join-token') void followToken(agent, proof.tokenFile, first, deps, signal)
  return agent
}

/** Shows each new token that the file comes to hold, while the CA does not know this node. */
async function followToken(
  agent: Agent,
  file: string,
  first: string | undefined,
  { clock, log }: RemoteAgentDeps,
  signal: AbortSignal,
): Promise<void> {
  let shown = first
  while (!signal.aborted) {
    await clock.sleep(LOOK_MS, signal).catch(() => {}) // The loop looks at the signal.
    if (signal.aborted || agent.node.current.kind === 'attested') continue
    try {
      const token = await readToken(file)
      if (token === shown) continue
      shown = token
      await agent.attest(token)
    } catch (cause) {
      log('error', 'node-not-attested-anew', { cause: String(cause) })
    }
  }
}

async function readToken(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    const why = cause.code === 'ENOENT' ? 'there is no such file' : cause.message
    throw new DeployError('DEPLOY_USAGE', `Cannot read the join token in ${file}: ${why}`, {
      cause,
    })
  })
  const token = text.trim()
  if (token !== '') return token
  throw new DeployError('DEPLOY_USAGE', `Cannot read the join token in ${file}: it is empty`)
}
