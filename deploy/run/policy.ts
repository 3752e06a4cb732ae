#!/usr/bin/env node
/** The policy server's process: its identity comes from the agent, as everyone's does. */
import { readFile } from 'node:fs/promises'
import { openSvid } from '#agent/client/index.ts'
import { listenTls } from '#ca/index.ts'
import { createLive } from '#core/live.ts'
import {
  createManifestReader,
  openCasbinRows,
  openKeySets,
  openPolicyServer,
  type RowsFault,
  type WorkloadInstance,
} from '#policy/index.ts'
import { parseAddress } from '../standalone/address.ts'
import { listenHealth } from '../standalone/health-listener.ts'
import type { PolicyProcessConfig, PolicyReady, SourceFile } from '../standalone/messages.ts'
import { serveProcess } from './serve-process.ts'

await serveProcess<PolicyProcessConfig>('policy', async (config, deps) => {
  const { emit, signal, log, now } = deps
  const name = 'policy server'
  const svid = await openSvid({ socketPath: config.agentSocket, name, ...deps }, signal)
  const read = createManifestReader()
  const intent = createLive(read(config.files).intent)
  const instances = createLive(config.instances)
  const keySets = openKeySets({ ...deps, intent: intent.live }, signal)
  const faults = new Map<string, RowsFault>()
  const reading = {
    ...deps,
    intent: intent.live,
    readFile: (path: string) => readFile(path, 'utf8'),
    onReading(policy: string, fault: RowsFault | undefined) {
      if (fault === undefined) faults.delete(policy)
      else faults.set(policy, fault)
    },
  }
  const casbinRows = openCasbinRows(reading, signal)
  const live = { intent: intent.live, instances: instances.live, casbinRows }
  const keys = { keySets: keySets.live, onKeysWanted: keySets.fetchAnew }
  const server = openPolicyServer({ ...deps, ...live, ...keys })
  server.onEvent(emit)
  const listener = await listenTls({
    listen: parseAddress(config.listen),
    identity: () => svid.current,
    // Its own trust domain alone: others have no sidecars of this mesh.
    bundles: () => svid.current.bundles.slice(0, 1),
    now,
    log,
    clientCertificate: 'required',
    alpn: ['h2'],
    onConnection: (socket, peer) => {
      if (peer) server.accept(socket, peer.id)
    },
  })
  void (async () => {
    for await (const _ of svid.changes(signal)) listener.refresh()
  })()
  const health = await listenHealth(parseAddress(config.metrics), server)
  return {
    ready: { address: listener.address, metrics: health.address } satisfies PolicyReady,
    calls: {
      health: () => server.health(),
      manifests: (files: readonly SourceFile[]) => intent.set(read(files).intent),
      instances: (list: readonly WorkloadInstance[]) => instances.set(list),
      status: () => server.status(),
      unread: () => [...faults.values()],
    },
    async [Symbol.asyncDispose]() {
      await health[Symbol.asyncDispose]()
      await listener[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
})
