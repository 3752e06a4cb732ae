#!/usr/bin/env node
/** The node agent's process. */
import { hostname } from 'node:os'

import { type Agent, createWorkloadRegistry, openAgent } from '#agent/index.ts'
import { parseSpiffeId, parseTrustDomain } from '#ca/spiffe/index.ts'
import { derFromPem } from '#ca/x509/index.ts'
import { parseAddress } from '../standalone/address.ts'
import type { ProcessHealth } from '../standalone/status.ts'
import { listenHealth } from '../standalone/health-listener.ts'
import type {
  AgentEvent,
  AgentProcessConfig,
  AgentReady,
  RegisteredProcess,
} from '../standalone/messages.ts'
import { type ProcessDeps, serveProcess } from './serve-process.ts'

await serveProcess<AgentProcessConfig>('agent', async (config, deps) => {
  const registry = createWorkloadRegistry(deps)
  const register = (list: readonly RegisteredProcess[]): boolean =>
    registry.setWorkloads(list.map((one) => ({ ...one, spiffeId: parseSpiffeId(one.spiffeId) })))
  register(config.workloads)
  const agent = await openAgent(
    {
      trustDomain: parseTrustDomain(config.trustDomain),
      agentId: parseSpiffeId(config.agentId),
      caAddress: config.caAddress,
      name: hostname(),
      socketPath: config.socketPath,
      joinToken: config.joinToken,
    },
    {
      ...deps,
      caRoots: derFromPem('CERTIFICATE', config.roots),
      identify: registry.identify,
    },
  )
  void tellWhenUnknown(agent, deps)
  const health = await listenHealth(parseAddress(config.metrics), agent)
  return {
    ready: { metrics: health.address } satisfies AgentReady,
    calls: {
      health(): ProcessHealth {
        const clockOffsetMs = agent.clockOffsetMs()
        return { ...agent.health(), ...(clockOffsetMs !== undefined && { clockOffsetMs }) }
      },
      workloads(list: readonly RegisteredProcess[]) {
        if (register(list)) agent.callersChanged()
      },
      attest: (joinToken: string) => agent.attest(joinToken),
    },
    async [Symbol.asyncDispose]() {
      await health[Symbol.asyncDispose]()
      await agent[Symbol.asyncDispose]()
    },
  }
})

/** A node whose certificate ran out (a laptop that slept) needs a new token from the supervisor. */
async function tellWhenUnknown({ node }: Agent, { emit, signal }: ProcessDeps): Promise<void> {
  let known = false
  for await (const { kind } of node.changes(signal)) {
    if (known && kind === 'unattested') emit({ kind } satisfies AgentEvent)
    known = kind === 'attested'
  }
}
