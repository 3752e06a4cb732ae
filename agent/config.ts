import type { SpiffeId, TrustDomain } from '#ca/spiffe/index.ts'
import { trustDomainOf } from '#ca/spiffe/index.ts'
import type { NodeProof } from './attest/evidence.ts'
import { caAddressFault } from './authority/target.ts'
import { AgentError } from './error.ts'

/** What an agent is told once, at its start. */
export interface AgentConfig {
  readonly trustDomain: TrustDomain
  /** The name the agent attests for, e.g. `spiffe://td/ns/redoubt-system/sa/redoubt-agent`. */
  readonly agentId: SpiffeId
  /** The CA's name, by which its certificate is judged. @default `…/ns/redoubt-system/sa/redoubt-ca` */
  readonly caId?: SpiffeId
  /** `host:port`; of a CA with several replicas all addresses, with commas between. */
  readonly caAddress: string
  /** What the node is called in listings, e.g. its host name. @default the socket's path */
  readonly name?: string
  /** Absolute, at most 107 bytes. */
  readonly socketPath: string
  /** One-time proof for the CA; without it the agent waits for `attest`. */
  readonly joinToken?: string
  /** In place of a join token: proof that can be shown again, and is when the CA wants it. */
  readonly proof?: Exclude<NodeProof, { kind: 'join-token' }>
  /** Life wanted for the agent's own SVID; the CA may give less. @default 1 h */
  readonly ownTtl?: Temporal.Duration
}

/** Bytes of `sun_path` without its end (unix(7)). */
export const MAX_SOCKET_PATH_BYTES = 107

/** Every fault of `config`, in the message grammar of errors; empty if there is none. */
export function configFaults(config: AgentConfig): readonly string[] {
  const { trustDomain, agentId, caAddress, socketPath, ownTtl } = config
  const faults: string[] = []
  if (trustDomainOf(agentId) !== trustDomain) {
    faults.push(`agentId is "${agentId}", expected an ID of trust domain "${trustDomain}"`)
  }
  const fault = caAddressFault(caAddress)
  if (fault !== undefined) faults.push(fault)
  if (!socketPath.startsWith('/')) {
    faults.push(`socketPath is ${JSON.stringify(socketPath)}, expected an absolute path`)
  }
  const pathBytes = Buffer.byteLength(socketPath)
  if (pathBytes > MAX_SOCKET_PATH_BYTES) {
    faults.push(`socketPath has ${pathBytes} bytes, expected at most ${MAX_SOCKET_PATH_BYTES}`)
  }
  if (config.joinToken !== undefined && config.proof) {
    faults.push('joinToken and proof are both given, expected one')
  }
  if (ownTtl && Math.floor(ownTtl.total('seconds')) < 1) {
    faults.push(`ownTtl is ${ownTtl}, expected at least 1 s`)
  }
  return faults
}

/** @throws {AgentError} `AGENT_CONFIG_INVALID` with every fault */
export function checkConfig(config: AgentConfig): void {
  const faults = configFaults(config)
  if (faults.length === 0) return
  throw new AgentError('AGENT_CONFIG_INVALID', `Cannot start the agent: ${faults.join('; ')}`)
}
