#!/usr/bin/env node
/** A sidecar's process. */
import pino from 'pino'

import type { Svid } from '#agent/client/index.ts'
import { parseSpiffeId, parseTrustDomain } from '#ca/spiffe/index.ts'
import { openProxy } from '#proxy/index.ts'
import { createDenialDigest } from '../standalone/denial-digest.ts'
import type {
  HeldCertificate,
  ProxyEvent,
  ProxyProcessConfig,
  ProxyReady,
} from '../standalone/messages.ts'
import { serveProcess } from './serve-process.ts'

await serveProcess<ProxyProcessConfig>('proxy', async (config, { emit, signal, ...deps }) => {
  const accessLog = pino.destination({ dest: config.accessLogFile, sync: false, mode: 0o600 })
  const digest = createDenialDigest(deps.clock, signal, (denied) =>
    emit({ kind: 'denied', denied } satisfies ProxyEvent),
  )
  const proxy = await openProxy(
    {
      ...config,
      trustDomain: parseTrustDomain(config.trustDomain),
      policyId: parseSpiffeId(config.policyId),
    },
    {
      ...deps,
      writeAccessLog(line) {
        digest(line)
        return accessLog.write(`${line}\n`)
      },
    },
  )
  void (async () => {
    for await (const svid of proxy.svid.changes(signal)) {
      emit({ kind: 'certificate', certificate: held(svid) } satisfies ProxyEvent)
    }
  })()
  const { addresses, svid } = proxy
  return {
    ready: { addresses, certificate: held(svid.current) } satisfies ProxyReady,
    async [Symbol.asyncDispose]() {
      await proxy.drain()
      await proxy[Symbol.asyncDispose]()
      accessLog.flushSync()
    },
  }
})

function held({
  id,
  serial,
  issuedAt,
  notBefore,
  notAfter,
  chainPem,
  bundles,
}: Svid): HeldCertificate {
  return {
    spiffeId: id,
    serial,
    chainPem,
    issuedAt: String(issuedAt),
    notBefore: String(notBefore),
    notAfter: String(notAfter),
    bundleGeneration: bundles[0]?.generation ?? 0,
  }
}
