/** Opens the certificate authority: what signs, then its own certificate, then the listener. */
import type { Clock } from '#core/clock.ts'
import type { Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import { adminIdOf, type Administrator } from './admin/administrator.ts'
import { admitAdministrator } from './admin/issue-for.ts'
import { readStatus } from './admin/status.ts'
import type { JoinToken } from './attest/join-token.ts'
import { assertConfig, type CaConfig, exactLives } from './config.ts'
import type { AdmitRules } from './issue/admit.ts'
import type { AuditReport } from './issue/audit.ts'
import type { Denials } from './issue/denials.ts'
import type { IssuedSvid } from './issue/issue-svid.ts'
import { createSigningLimit, DEFAULT_RATES } from './issue/signing-limit.ts'
import type { TransparencyLog } from './issue/transparency.ts'
import { keepRenewed } from './keys/keep-renewed.ts'
import { openKeyStore } from './keys/open-keys.ts'
import { type OpenAuthority, openAuthority } from './open-authority.ts'
import { type CaMetrics, createCaMetrics } from './serve/metrics.ts'
import { issueOwnSvid, type OwnSvid } from './serve/own-svid.ts'
import { serveCa } from './serve/server.ts'
import { serverIdOf } from './server-id.ts'
import type { SpiffeId } from './spiffe/index.ts'
import type { Life, TrustBundle } from './x509/index.ts'

/** What the CA needs from the world. */
export interface CaDeps {
  readonly now: () => Temporal.Instant
  readonly clock: Clock
  readonly log: Log
  /** Numbers in [0, 1) that spread renewals; not used for keys or serials. @default Math.random */
  readonly random?: () => number
  /** Variables in which secrets may be. @default none */
  readonly env?: Readonly<Record<string, string | undefined>>
}

/** The log of certificates and administrative calls; see ca/README.md, *The log*. */
export interface CaLog extends Pick<TransparencyLog, 'head' | 'prove' | 'proveSince'> {
  /** SubjectPublicKeyInfo, PEM: what heads are checked by. */
  readonly publicKeyPem: string
  /** Reads the whole ledger again and holds it against the last head. */
  readonly audit: () => Promise<AuditReport>
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
  readonly log: CaLog
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
  const { now, log } = deps
  const { trustDomain, listen } = config
  const metrics = createCaMetrics()
  await using opening = new AsyncDisposableStack()

  const openKeys = (stateDir: string) =>
    openKeyStore(config.keys ?? { kind: 'files' }, stateDir, { ...deps, env: deps.env ?? {} })
  const authority = opening.use(await openAuthority(config, now, openKeys))
  const { denials } = authority
  const rules = rulesOf(config, authority, now)
  const { serverId, adminId } = rules
  const issueOwn = () => issueOwnSvid({ ...authority, serverId, ttl: rules.leafTtl, now })
  let own = await issueOwn()
  const administrators = new Set([adminId, ...(config.administrators ?? [])])
  const health = () => healthOf(authority, exactLives(config).caTtl, now())
  const identity = () => own.identity
  const isAdministrator = (id: SpiffeId) => administrators.has(id)
  const status = () => readStatus({ ...authority, now, health })
  const guards = guardsOf(config, deps, authority, metrics)
  const calls = { ...deps, ...authority, ...guards, metrics, rules, isAdministrator, status }
  const server = opening.use(await serveCa({ ...calls, listen, identity }))
  const report = () => reportExpiry(metrics, authority, own)
  report()
  const renewOwn = async () => {
    own = await issueOwn()
    server.refresh()
    report()
    log('info', 'ca-server-certificate-renewed', { notAfter: String(own.life.notAfter) })
  }
  opening.use(
    inBackground(deps, [
      { life: () => own.life, renew: renewOwn },
      ...keyRenewals(authority, log, report),
    ]),
  )
  opening.use(noteHeads(deps, authority))
  log('info', 'ca-open', { address: server.address, trustDomain })

  const opened = opening.move()
  return {
    address: server.address,
    bundle: authority.bundle,
    serverId,
    addJoinToken: (token, caller = 'supervisor') => authority.agents.add(token, caller),
    denials,
    admitAdministrator: (by, csrDer) =>
      admitAdministrator({ ...authority, rules, now }, by, csrDer),
    log: logOf(authority),
    health,
    metrics: metrics.render,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
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

/** Of the keys that sign. `report` tells when each ends. */
function keyRenewals(authority: OpenAuthority, log: Log, report: () => void): readonly Renewal[] {
  const renewIssuing = async (): Promise<void> => {
    await authority.renew()
    report()
    log('info', 'ca-issuing-renewed', { serial: issuingOf(authority).serial })
  }
  const renewJwt = async (): Promise<void> => {
    await authority.renewJwt()
    report()
    log('info', 'ca-jwt-key-prepared')
  }
  return [
    { life: () => issuingLife(authority), renew: renewIssuing },
    { life: authority.jwtLife, renew: renewJwt },
  ]
}

/** What stands between calls and what they cost. */
function guardsOf(
  { signing = DEFAULT_RATES }: CaConfig,
  { clock }: CaDeps,
  { ledger }: OpenAuthority,
  metrics: CaMetrics,
) {
  const limit = createSigningLimit(signing, () => clock.nowMs())
  return { limit, ledger: metrics.watch(ledger, clock) }
}

function logOf({ transparency, audit }: OpenAuthority): CaLog {
  const { publicKey, head, prove, proveSince } = transparency
  const publicKeyPem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
  return { head, prove, proveSince, publicKeyPem, audit }
}

function reportExpiry(metrics: CaMetrics, authority: OpenAuthority, own: OwnSvid): void {
  metrics.bundle(authority.bundle.current.generation)
  metrics.expiry('root', authority.root.certificate.notAfter)
  metrics.expiry('issuing', issuingOf(authority).notAfter)
  metrics.expiry('server', own.life.notAfter)
  metrics.expiry('jwt', authority.jwtLife().notAfter)
}

function issuingOf({ signer }: OpenAuthority) {
  return signer().authority.certificate
}

/** Reckoned from NotBefore: against a life of hours or years the back-date is nothing. */
function issuingLife(authority: OpenAuthority): Life {
  const { notBefore: issuedAt, notAfter } = issuingOf(authority)
  return { issuedAt, notAfter }
}

interface Renewal {
  readonly life: () => Life
  readonly renew: () => Promise<void>
}

/** Renews until disposed; disposing waits for what is under way. */
function inBackground(
  { clock, now, log, random = Math.random }: CaDeps,
  renewals: readonly Renewal[],
): AsyncDisposable {
  const ended = new AbortController()
  const running = renewals.map(({ life, renew }) =>
    keepRenewed({ clock, now, random, log }, life, renew, ended.signal),
  )
  const settled = Promise.allSettled(running) // at once, so that no rejection is ever unhandled
  return {
    async [Symbol.asyncDispose]() {
      ended.abort()
      await settled
    },
  }
}

/** Milliseconds between two notes, outside the database, of how far the log has come. */
const NOTE_HEAD_MS = 60_000

function noteHeads(
  { clock, log }: CaDeps,
  { transparency }: Pick<OpenAuthority, 'transparency'>,
): Disposable {
  const ended = new AbortController()
  const loop = async (): Promise<void> => {
    for (;;) {
      await clock.sleep(NOTE_HEAD_MS, ended.signal)
      await transparency.keepSeen().catch((cause: unknown) => {
        log('error', 'ca-log-head-not-kept', { detail: String(cause) })
      })
    }
  }
  loop().catch(() => undefined) // it ends with the CA
  return { [Symbol.dispose]: () => ended.abort() }
}

/** Ready while the issuing CA can sign; a root that would cut its successor short is told in time. */
function healthOf(authority: OpenAuthority, caTtl: Temporal.Duration, now: Temporal.Instant) {
  const { notAfter } = issuingOf(authority)
  const rootEnd = authority.root.certificate.notAfter
  const ready = Temporal.Instant.compare(now, notAfter) < 0
  const isRootShort = Temporal.Instant.compare(now.add(caTtl), rootEnd) > 0
  return {
    ready,
    reasons: [
      ...(ready ? [] : [`the issuing CA ended at ${notAfter}`]),
      ...(isRootShort ? [`the root ends at ${rootEnd}, before a new issuing CA would`] : []),
    ],
  }
}
