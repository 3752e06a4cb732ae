#!/usr/bin/env node
/** The certificate authority's process. */
import { type Ca, openCa, ROTATE_STEPS, writeBundleDocument } from '#ca/index.ts'
import { parseSpiffeId, parseTrustDomain } from '#ca/spiffe/index.ts'
import { pemFromDer, type TrustBundle } from '#ca/x509/index.ts'
import { withClusterClock } from '../kubernetes/cluster-clock.ts'
import { parseAddress } from '../standalone/address.ts'
import { toldDenials } from '../standalone/denials.ts'
import { listenHealth } from '../standalone/health-listener.ts'
import type {
  AdministratorCall,
  AdministratorSvid,
  BackupCall,
  CaEvent,
  CaProcessConfig,
  CaReady,
  FederatedDomain,
  ForcedRotation,
  ForcedRotationCall,
  JoinTokenCall,
} from '../standalone/messages.ts'
import type { ProcessHealth } from '../standalone/status.ts'
import { caOptions, relationshipsOf, tokenReviewOf } from './ca-options.ts'
import { serveProcess } from './serve-process.ts'

await serveProcess<CaProcessConfig>('ca', async (config, { emit, signal, ...deps }) => {
  const life = (name: 'leafTtl' | 'maxLeafTtl' | 'caTtl' | 'rootTtl'): Temporal.Duration =>
    Temporal.Duration.from(config[name])
  const cluster = await tokenReviewOf(config, deps)
  const ca = await openCa(
    {
      trustDomain: parseTrustDomain(config.trustDomain),
      stateDir: config.stateDir,
      listen: parseAddress(config.listen),
      leafTtl: life('leafTtl'),
      maxLeafTtl: life('maxLeafTtl'),
      caTtl: life('caTtl'),
      rootTtl: life('rootTtl'),
      ...(config.ledger && { ledger: config.ledger }),
      ...(await caOptions(config)),
      ...(config.retention && { retention: Temporal.Duration.from(config.retention) }),
    },
    { ...deps, ...(cluster && { reviewToken: cluster.review }), env: process.env },
  )
  const fault = ca.authorities.fault()
  const judged = (): ProcessHealth => withClusterClock(ca.health(), cluster?.clockOffsetMs())
  const health = await listenHealth(parseAddress(config.metrics), { ...ca, health: judged })
  const roots = (): string => pemFromDer('CERTIFICATE', ca.bundle.current.roots)
  void tellBundles(ca, signal, emit)
  return {
    ready: {
      address: ca.address,
      metrics: health.address,
      ...told(ca.bundle.current),
      ...(fault !== undefined && { fault }),
    } satisfies CaReady,
    calls: {
      health: judged,
      'add-join-token': ({ by, ...token }: JoinTokenCall) => {
        const agentId = parseSpiffeId(token.agentId)
        const expiresAt = Temporal.Instant.from(token.expiresAt)
        return ca.addJoinToken({ ...token, agentId, expiresAt }, by)
      },
      async 'rotate-by-force'({ step, uid }: ForcedRotationCall) {
        const known = ROTATE_STEPS.find((each) => each === step)
        if (!known) throw new Error(`Cannot rotate: ${step} is no step`)
        const before = ca.authorities.fault()
        await ca.rotate({ name: `uid:${uid}` }, { step: known, force: true })
        const { rotation } = ca.authorities.book.current
        const fault = ca.authorities.fault()
        return {
          ...(rotation && { phase: rotation.phase }),
          ...(fault !== undefined && { fault }),
          recovered: before !== undefined && fault === undefined,
        } satisfies ForcedRotation
      },
      async 'admit-administrator'({ csr, uid }: AdministratorCall) {
        // Says what to do, too.
        if (ca.authorities.fault() !== undefined) throw new Error(ca.health().reasons[0])
        const { chain } = await ca.admitAdministrator(
          { name: `uid:${uid}` },
          Buffer.from(csr, 'base64'),
        )
        return {
          address: ca.address,
          trustDomain: config.trustDomain,
          serverId: ca.serverId,
          chain: pemFromDer('CERTIFICATE', chain),
          roots: roots(),
          generation: ca.bundle.current.generation,
        } satisfies AdministratorSvid
      },
      federate: async (domains: readonly FederatedDomain[]) =>
        ca.federation.set(await relationshipsOf(domains, config.trustDomain), 'supervisor'),
      denials: () => toldDenials(ca.denials.list.current, deps.now()),
      ...logCalls(ca),
      backup: ({ to, passphrase, uid }: BackupCall) => ca.log.backup(`uid:${uid}`, to, passphrase),
    },
    async [Symbol.asyncDispose]() {
      await health[Symbol.asyncDispose]()
      await ca[Symbol.asyncDispose]()
    },
  }
})

/** What is asked about the log. */
function logCalls({ log }: Ca) {
  return {
    'log-key': () => log.publicKeyPem,
    'log-head': () => log.head(),
    'log-prove': async (serial: string) => (await log.prove(serial)) ?? null,
    'log-prove-since': (size: number) => log.proveSince(size),
    'log-audit': () => log.audit(),
  }
}

async function tellBundles(
  { bundle }: Ca,
  signal: AbortSignal,
  emit: (event: CaEvent) => void,
): Promise<void> {
  for await (const current of bundle.changes(signal)) emit({ kind: 'bundle', ...told(current) })
}

/** For files, which are the newest whenever they are read. */
function told(bundle: TrustBundle): Omit<CaEvent, 'kind'> {
  const refreshHintSeconds = 300
  return {
    roots: pemFromDer('CERTIFICATE', bundle.roots),
    document: `${writeBundleDocument(bundle, refreshHintSeconds)}\n`,
    generation: bundle.generation,
  }
}
