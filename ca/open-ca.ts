/** Opens the certificate authority: what signs, then its own certificate, then the listener. */
import type { Clock } from '#core/clock.ts'
import type { Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import { adminIdOf, type Administrator } from './admin/administrator.ts'
import { admitAdministrator } from './admin/issue-for.ts'
import {
  rotate,
  type RotateDeps,
  type RotateStep,
  type StepOutcome,
  taint,
} from './admin/rotate.ts'
import { readStatus } from './admin/status.ts'
import { createAttestors } from './attest/attestors.ts'
import { activePair } from './authorities/book.ts'
import type { Authorities } from './authorities/open-authorities.ts'
import { leftKeyOf } from './authorities/tainted.ts'
import type { JoinToken } from './attest/join-token.ts'
import type { ReviewToken } from './attest/kubernetes.ts'
import type { CaLog } from './ca-log.ts'
import { assertConfig, type CaConfig, exactLives } from './config.ts'
import { type CaFederation, openFederation } from './federation/open.ts'
import type { AdmitRules } from './issue/admit.ts'
import type { Denials } from './issue/denials.ts'
import type { IssuedSvid } from './issue/issue-svid.ts'
import { createSigningLimit, DEFAULT_RATES } from './issue/signing-limit.ts'
import { type CaHealth, createHealthLog, healthOf, withOwn } from './health.ts'
import { keepLedger } from './keep-ledger.ts'
import { keepCaUp } from './keep-up.ts'
import { type OpenAuthority, openAuthority } from './open-authority.ts'
import { keepPluggedIn, openWith, pluggedHealth } from './open-with.ts'
import { createRenewals } from './renewals.ts'
import { type CaMetrics, createCaMetrics } from './serve/metrics.ts'
import { issueOwnSvid, type OwnSvid, replaceDenied } from './serve/own-svid.ts'
import type { TlsIdentity } from './serve/listen-tls.ts'
import { serveCa } from './serve/server.ts'
import { createSubscribers, type Subscriber, type Subscribers } from './serve/subscribers.ts'
import { serverIdOf } from './server-id.ts'
import type { SpiffeId } from './spiffe/index.ts'
import type { TrustBundle } from './x509/index.ts'

/** What the CA needs from the world. */
export interface CaDeps {
  readonly now: () => Temporal.Instant
  readonly clock: Clock
  readonly log: Log
  /** Numbers in [0, 1) that spread renewals; not used for keys or serials. @default Math.random */
  readonly random?: () => number
  /** Asks the cluster of `attestation.kubernetes`, which is of no effect without. */
  readonly reviewToken?: ReviewToken
  /** Variables in which secrets may be. @default none */
  readonly env?: Readonly<Record<string, string | undefined>>
}

/** A running CA. Disposing it ends calls and connections, closes the ledger and lets go of the state. */
export interface Ca extends AsyncDisposable {
  /** `host:port` of the gRPC listener. */
  readonly address: string
  readonly bundle: Live<TrustBundle>
  /** What the CA's own server certificate says: `spiffe://<td>/ns/redoubt-system/sa/redoubt-ca`. */
  readonly serverId: SpiffeId
  /**
   * @param caller - Who lets the agent in, for the log. @default `supervisor`
   * @throws {CaError} `CA_CONFIG_INVALID` if the token is malformed, of another trust domain, or known already
   */
  readonly addJoinToken: (token: JoinToken, caller?: string) => Promise<void>
  /** What is not trusted any more; every change of it is an administrative call. */
  readonly denials: Pick<Denials, 'list' | 'deny' | 'lift'>
  /**
   * Issues a short-lived certificate of the administrator over the key of a CSR. For callers whom
   * something else vouches for: the kernel, for the owner of a mesh on this machine.
   *
   * @param by - Who, for the log and the ledger.
   * @throws {CaError} `CA_CSR_REJECTED`, `CA_SIGNER_UNAVAILABLE`
   */
  readonly admitAdministrator: (by: Administrator, csrDer: Uint8Array) => Promise<IssuedSvid>
  /** Who follows bundle and deny-list, and which generations they have acknowledged. */
  readonly subscribers: () => readonly Subscriber[]
  /** Counts up whenever `subscribers` has something new to say. */
  readonly acknowledgements: Live<number>
  /**
   * A step of a root rotation for the owner of a mesh on this machine: the way that is left when
   * nothing can be signed, not even an administrator's certificate.
   *
   * @throws {CaError} `CA_ROTATION_REFUSED`
   */
  readonly rotate: (
    by: Administrator,
    step: { readonly step: RotateStep; readonly force: boolean },
  ) => Promise<StepOutcome>
  /** Renews everything that a key signed; one that signs now is replaced first. @throws {CaError} `CA_ROTATION_REFUSED` */
  readonly taint: (by: Administrator, keyId: string) => Promise<StepOutcome>
  /** Roots and issuing CAs, with the rotation that is under way; see ca/authorities. */
  readonly authorities: Pick<Authorities, 'book' | 'fault'>
  readonly log: CaLog
  /** The bundle endpoint, and the trust domains that are believed. */
  readonly federation: CaFederation
  readonly health: () => { readonly ready: boolean; readonly reasons: readonly string[] }
  /** Prometheus text. */
  readonly metrics: () => Promise<string>
}

/**
 * Opens the CA below `config.stateDir`, making root and issuing CA on first start.
 *
 * @throws {CaError} `CA_CONFIG_INVALID`, `CA_STATE_UNUSABLE`, `CA_LISTEN_FAILED`
 */
export async function openCa(config: CaConfig, deps: CaDeps): Promise<Ca> {
  assertConfig(config)
  const [{ now, log }, { trustDomain, listen }] = [deps, config]
  const metrics = createCaMetrics()
  await using opening = new AsyncDisposableStack()

  const authority = opening.use(await openAuthority(config, now, openWith(config, deps)))
  const rules = rulesOf(config, authority, now)
  const issueOwn = () => issueOwnSvid({ ...authority, ...rules, ...ownNames(config), now })
  // Without a chain that is in order it shows no certificate, and says so on its other port.
  let own = authority.authorities.fault() === undefined ? await issueOwn() : undefined
  const renewals = createRenewals(metrics, now)
  const health = () => withOwn(caHealth(authority, config, now()), renewals, own, now())
  const subscribers = createSubscribers(now)
  const status = () => readStatus({ ...authority, now, health, subscribers })
  const transient = [rules.serverId, adminIdOf(trustDomain)]
  const answering = { metrics, rules, subscribers, status, transient }
  const guards = guardsOf(config, deps, authority, metrics)
  const calls = { ...deps, ...authority, ...guards, ...answering }
  const server = opening.use(await serveCa({ ...calls, listen, identity: () => own?.identity }))
  opening.use(await shareSubscribers(authority, subscribers, server.address, deps))
  const report = createReport(() => reportExpiry(metrics, authority, own), health, log)
  const renewOwn = renewals.counted('server', async () => {
    own = await issueOwn()
    server.refresh()
    report()
    log('info', 'ca-server-certificate-renewed', { notAfter: String(own.life.notAfter) })
  })
  opening.use(keepCaUp({ authority, own: () => own, renewOwn, renewals, report }, deps))
  opening.use(keepPluggedIn(authority, config, deps))
  const federation = opening.use(await federate(config, deps, authority, () => own?.identity))
  opening.use(keepLedger(deps, authority, config.retention))
  opening.use(replaceDenied({ ...authority, own: () => own, now, log, renew: renewOwn }))
  log('info', 'ca-open', { address: server.address, trustDomain })

  const opened = opening.move()
  return {
    address: server.address,
    bundle: authority.bundle,
    serverId: rules.serverId,
    addJoinToken: (token, caller = 'supervisor') => authority.agents.add(token, caller),
    denials: authority.denials,
    admitAdministrator: admitAdministrator.bind(undefined, { ...authority, rules, now }),
    ...stepsOf(calls),
    authorities: authority.authorities,
    federation,
    subscribers: subscribers.list,
    acknowledgements: subscribers.changes,
    log: authority.caLog,
    health,
    metrics: () => metrics.render(health()),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

async function shareSubscribers(
  { openBoard }: OpenAuthority,
  { present, share }: Subscribers,
  address: string,
  { clock }: CaDeps,
): Promise<AsyncDisposable | undefined> {
  const board = await openBoard?.({ address, present }, clock)
  if (board) share(board)
  return board
}

/** Who the CA is to those who dial it, and for how long it says so at a time. */
function ownNames({ serverNames = [], ...config }: CaConfig) {
  return { serverNames, ttl: exactLives(config).leafTtl }
}

function federate(
  { federation = {}, trustDomain, stateDir }: CaConfig,
  { random = Math.random, ...deps }: CaDeps,
  authority: OpenAuthority,
  identity: () => TlsIdentity | undefined,
): ReturnType<typeof openFederation> {
  const { ledger } = authority
  const own = { trustDomain, stateDir, authority, ledger, identity }
  return openFederation(federation, { ...deps, ...own, random })
}

function caHealth(authority: OpenAuthority, config: CaConfig, now: Temporal.Instant): CaHealth {
  const { caTtl, leafTtl } = exactLives(config)
  // Nobody makes an issuing CA under a root that is not ours: leaves are what it must outlive.
  const below = authority.plugged ? leafTtl : caTtl
  return pluggedHealth(healthOf(authority.authorities, below, now), authority, config, now)
}

function stepsOf(deps: RotateDeps): Pick<Ca, 'rotate' | 'taint'> {
  return { rotate: rotate.bind(undefined, deps), taint: taint.bind(undefined, deps) }
}

function rulesOf(
  config: CaConfig,
  { denials }: OpenAuthority,
  now: () => Temporal.Instant,
): AdmitRules {
  const { trustDomain } = config
  return {
    ...exactLives(config),
    trustDomain,
    serverId: serverIdOf(trustDomain),
    adminId: adminIdOf(trustDomain),
    isDenied: (id) => denials.denies()?.('spiffe-id', id, now()) === true,
  }
}

/** What stands between calls and what they may do and cost. */
function guardsOf(
  { trustDomain, administrators = [], signing = DEFAULT_RATES, attestation = {} }: CaConfig,
  { clock, now, reviewToken }: CaDeps,
  authority: OpenAuthority,
  metrics: CaMetrics,
) {
  const { ledger, agents, denials } = authority
  const limit = createSigningLimit(signing, () => clock.nowMs())
  const admitted = new Set([adminIdOf(trustDomain), ...administrators])
  const isAdministrator = (id: SpiffeId) => admitted.has(id)
  const distrust = { denies: denials.denies, leftKey: leftKeyOf.bind(undefined, authority) }
  const deps = { trustDomain, agents, reviewToken, now, distrust }
  const attestors = createAttestors(attestation, deps)
  return { limit, ledger: metrics.watch(ledger, clock), isAdministrator, ...attestors }
}

/** Tells when everything ends, and of health whenever it has something else to say: now, and at each call. */
function createReport(expiry: () => void, health: () => CaHealth, log: Log): () => void {
  const tellHealth = createHealthLog(log)
  const report = (): void => {
    expiry()
    tellHealth(health())
  }
  report()
  return report
}

function reportExpiry(
  metrics: CaMetrics,
  { bundle, authorities, jwtLife }: OpenAuthority,
  own: OwnSvid | undefined,
): void {
  const { root, issuing } = activePair(authorities.book.current)
  const end = ({ notAfter }: { readonly notAfter: number }) =>
    Temporal.Instant.fromEpochMilliseconds(notAfter)
  metrics.bundle(bundle.current.generation)
  metrics.expiry('root', end(root))
  metrics.expiry('issuing', end(issuing))
  if (own) metrics.expiry('server', own.life.notAfter)
  metrics.expiry('jwt', jwtLife().notAfter)
}
