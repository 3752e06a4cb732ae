import { createPrivateKey } from 'node:crypto'
import { credentials, Metadata } from '@grpc/grpc-js'
import { parseSpiffeId, trustDomainOf } from '#ca/spiffe/index.ts'
import { pemFromDer, readCertificate, type TrustBundle } from '#ca/x509/index.ts'
import { backoff } from '#core/backoff.ts'
import type { Clock } from '#core/clock.ts'
import { createLive, type Live, type LiveSource } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import { AgentError } from '../error.ts'
import type { TrustAck, TrustUpdate } from '../proto/gen/trust.ts'
import { SpiffeWorkloadAPIClient, type X509SVIDResponse } from '../proto/gen/workload.ts'
import { createHeldTrust } from './held-trust.ts'
import { splitDer } from './split-der.ts'
import type { Svid } from './svid.ts'
import { openTrustStream } from './trust-stream.ts'

export interface OpenSvidDeps {
  /** Absolute. */
  readonly socketPath: string
  /** What this process is called in listings, for people. @default '' */
  readonly name?: string
  readonly clock: Clock
  readonly now: () => Temporal.Instant
  readonly random: () => number
  readonly log: Log
}

/**
 * Gets this process's SVID from the node's agent and keeps it current, and with it what peers are judged
 * by: roots, and what is denied although they vouch for it. Opened again for ever with back-off. While
 * the agent is away the last of both stay; whether the SVID still holds is for the peer to say.
 *
 * @param signal - Ends it. Resolves with the first SVID, once it is known too what is denied; rejects
 *   only when `signal` aborts.
 */
export function openSvid(deps: OpenSvidDeps, signal: AbortSignal): Promise<Live<Svid>> {
  return new Promise((resolve, reject) => {
    const held = createHeldSvid(deps, resolve)
    // `follow` ends by the signal alone.
    follow(deps, held, signal).catch(reject)
  })
}

interface HeldSvid {
  readonly takeSvid: (response: X509SVIDResponse) => void
  /** `undefined`: the agent knows nothing of that. */
  readonly takeTrust: (update: TrustUpdate | undefined) => void
  readonly standing: () => TrustAck
}

function createHeldSvid(
  { now, name = '' }: OpenSvidDeps,
  resolve: (svid: Live<Svid>) => void,
): HeldSvid {
  const trust = createHeldTrust()
  let newest: Svid | undefined
  let source: LiveSource<Svid> | undefined

  const publish = (): void => {
    if (!newest || !trust.isKnown()) return
    const bundles = trust.join(newest.bundles)
    if (bundles !== newest.bundles) newest = { ...newest, bundles }
    source ??= createLive(newest)
    if (source.live.current !== newest) source.set(newest)
    resolve(source.live)
  }
  return {
    takeSvid(response) {
      newest = svidFromProto(response, newest?.bundles)
      publish()
    },
    takeTrust(update) {
      if (update) trust.take(update, now())
      else trust.takeNothing()
      publish()
    },
    standing: () => trust.standing(source?.live.current.bundles ?? [], name),
  }
}

async function follow(deps: OpenSvidDeps, held: HeldSvid, signal: AbortSignal): Promise<never> {
  const { clock, random, log } = deps
  const waiting = () => backoff({ baseMs: 10, maxMs: 1000, random })
  for (let waits = waiting(); ; ) {
    try {
      await connect(deps, held, signal, () => {
        waits = waiting()
      })
      signal.throwIfAborted()
    } catch (cause) {
      signal.throwIfAborted()
      log('warn', 'svid-stream-failed', { cause: String(cause) })
    }
    await clock.sleep(waits.next().value, signal)
  }
}

/** Both streams on one connection; when either ends, both do. */
async function connect(
  { socketPath, log }: OpenSvidDeps,
  held: HeldSvid,
  signal: AbortSignal,
  answered: () => void,
): Promise<void> {
  // A channel for each attempt: it has no back-off of its own to wait for.
  const client = new SpiffeWorkloadAPIClient(`unix:${socketPath}`, credentials.createInsecure(), {
    'grpc.enable_http_proxy': 0,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.service_config_disable_resolution': 1,
  })
  const metadata = new Metadata()
  metadata.set('workload.spiffe.io', 'true')
  const svids = client.fetchX509Svid({}, metadata)
  const trust = openTrustStream({ client, metadata, held, log })
  const cancel = (): void => {
    svids.cancel()
    trust.cancel()
  }
  signal.addEventListener('abort', cancel, { once: true })
  try {
    await Promise.race([
      trust.ended,
      takeAll(svids as AsyncIterable<X509SVIDResponse>, (response) => {
        held.takeSvid(response)
        trust.acknowledge()
        answered()
      }),
    ])
  } finally {
    signal.removeEventListener('abort', cancel)
    cancel()
    client.close()
  }
}

async function takeAll<Message>(
  messages: AsyncIterable<Message>,
  take: (message: Message) => void,
): Promise<void> {
  for await (const message of messages) take(message)
}

/** How far the CA sets NotBefore back (design.md §2). */
const BACK_DATE = { minutes: 2 }

/**
 * Reads one message: the whole state, of which the first SVID is this process's identity.
 *
 * @param before - The bundles in force, whose generations go on counting.
 * @throws {AgentError} `AGENT_SVID_INVALID` if a mandatory field is missing or does not parse
 */
export function svidFromProto(
  response: X509SVIDResponse,
  before: readonly TrustBundle[] | undefined,
): Svid {
  const [message] = response.svids
  if (!message) throw invalid('the agent sent none')
  const chain = splitDer(message.x509Svid)
  const [leaf] = chain
  if (!leaf || message.x509SvidKey.length === 0 || message.bundle.length === 0) {
    throw invalid('the agent sent it without certificate, key or bundle')
  }
  const id = parseSpiffeId(message.spiffeId)
  const { serial, notBefore, notAfter } = readCertificate(leaf)
  const issuedAt = notBefore.add(BACK_DATE)
  const key = createPrivateKey({ key: message.x509SvidKey, format: 'der', type: 'pkcs8' })
  const foreign = Object.entries(response.federatedBundles).map(([domain, roots]) => ({
    trustDomain: trustDomainOf(parseSpiffeId(domain)),
    roots: splitDer(roots),
  }))
  const own = { trustDomain: trustDomainOf(id), roots: splitDer(message.bundle) }
  return {
    id,
    chain,
    chainPem: pemFromDer('CERTIFICATE', chain),
    key,
    keyPem: pemFromDer('PRIVATE KEY', message.x509SvidKey),
    serial,
    issuedAt: Temporal.Instant.compare(issuedAt, notAfter) < 0 ? issuedAt : notBefore,
    notBefore,
    notAfter,
    bundles: [own, ...foreign].map((bundle) => numbered(bundle, before)),
  }
}

/** The same bundle object for the same roots, so that readers may compare by reference. */
function numbered(
  { trustDomain, roots }: Omit<TrustBundle, 'generation'>,
  before: readonly TrustBundle[] | undefined,
): TrustBundle {
  const last = before?.find((bundle) => bundle.trustDomain === trustDomain)
  if (last && sameRoots(last.roots, roots)) return last
  return { trustDomain, roots, generation: (last?.generation ?? 0) + 1 }
}

function sameRoots(a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean {
  return Buffer.concat(a).equals(Buffer.concat(b))
}

function invalid(why: string): AgentError {
  return new AgentError('AGENT_SVID_INVALID', `Cannot take the SVID: ${why}`)
}
