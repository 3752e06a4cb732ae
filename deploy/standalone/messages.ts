/**
 * What goes over the inherited descriptor between the supervisor and a process that it started
 * (`child_process`'s IPC channel, one JSON document a message). Nobody else can speak on it, which
 * is why identities are registered here and not on the agent's public socket.
 */
import type {
  SubscriberStatus,
  WorkloadInstance,
  AuthorityIntent,
  FederationIntent,
} from '#policy/index.ts'

/** From the supervisor. The first message is `configure`. */
export type Down =
  | { readonly kind: 'configure'; readonly body: unknown }
  | { readonly kind: 'call'; readonly id: number; readonly name: string; readonly body: unknown }

/** To the supervisor. */
export type Up =
  | { readonly kind: 'ready'; readonly body: unknown }
  /** It cannot start, and says why in one line; it exits next. */
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'event'; readonly body: unknown }
  | { readonly kind: 'answer'; readonly id: number; readonly body: unknown }
  | { readonly kind: 'refused'; readonly id: number; readonly message: string }

interface ProcessConfig {
  /** Absolute. */
  readonly logFile: string
  readonly trustDomain: string
}

/** What is said of the CA on the command line. */
export interface CaSettings {
  /** ISO 8601 duration: how long rows stay in the ledger after the end of their certificates. */
  readonly retention?: string
  /** Where the ledger is; left out: in the state directory. */
  readonly ledger?: LedgerSettings
}

/** A ledger in PostgreSQL; see `PostgresConfig` of ca/postgres. Paths are absolute. */
export type LedgerSettings = NonNullable<AuthorityIntent['ledger']>

/** What the manifests say of the CA. Paths are absolute. */
export interface CaAuthority extends Omit<AuthorityIntent, 'machines'> {
  readonly machines: NonNullable<AuthorityIntent['machines']>
  /** The bundle endpoint. */
  readonly endpoint?: NonNullable<FederationIntent['endpoint']>
}

/** A trust domain that is federated with; the CA's call `federate` takes a list of these. */
export interface FederatedDomain {
  readonly trustDomain: string
  readonly url: string
  readonly profile: FederationIntent['trustDomains'][number]['profile']
}

/** `host:port` of every listener; port 0 takes a free one. */
export interface CaProcessConfig extends ProcessConfig, CaSettings {
  readonly authority: CaAuthority
  readonly federated: readonly FederatedDomain[]
  readonly stateDir: string
  readonly listen: string
  readonly metrics: string
  /** ISO 8601 durations. */
  readonly leafTtl: string
  readonly maxLeafTtl: string
  readonly caTtl: string
  readonly rootTtl: string
}

export interface CaReady {
  readonly address: string
  /** Why it cannot sign anything. */
  readonly fault?: string
  readonly metrics: string
  /** PEM of every root. */
  readonly roots: string
  /** The bundle as SPIFFE writes it: roots, and the keys that verify JWT-SVIDs. */
  readonly document: string
  /** Of the bundle. */
  readonly generation: number
}

/** The bundle has changed. */
export interface CaEvent {
  readonly kind: 'bundle'
  readonly roots: string
  readonly document: string
  readonly generation: number
}

/** Argument of the CA's call `backup`. */
export interface BackupCall {
  /** Absolute path of the new file. */
  readonly to: string
  readonly passphrase: string
  /** Of who asks. */
  readonly uid: number
}

/** Argument of the CA's call `add-join-token`. */
export interface JoinTokenCall {
  readonly tokenSha256: string
  readonly agentId: string
  readonly scope: readonly string[]
  /** ISO 8601 instant. */
  readonly expiresAt: string
  /** Who lets it in. @default the supervisor */
  readonly by?: string
}

/** Argument of the CA's call `admit-administrator`; the answer is {@link AdministratorSvid}. */
export interface AdministratorCall {
  /** PKCS#10, DER in base64. */
  readonly csr: string
  /** Whom the kernel vouches for. */
  readonly uid: number
}

/** What an administrator needs to call the CA. */
export interface AdministratorSvid {
  /** Of the CA; several with commas between, to be tried in order. */
  readonly address: string
  readonly trustDomain: string
  readonly serverId: string
  /** PEM. */
  readonly chain: string
  readonly roots: string
  readonly generation: number
}

/** Argument of the CA's call `rotate-by-force`; the answer is {@link ForcedRotation}. */
export interface ForcedRotationCall {
  readonly step: string
  /** Whom the kernel vouches for. */
  readonly uid: number
}

/** What has become of a step that waited for nobody. */
export interface ForcedRotation {
  /** Of the rotation; left out: none is under way. */
  readonly phase?: 'started' | 'promoted'
  /** Why nothing can be signed still. */
  readonly fault?: string
  /** Nothing could be signed before it: nobody knows the CA by what it shows now. */
  readonly recovered: boolean
}

/** A process, and who it is. Calls of the agent: `workloads` with a list of these, `attest`. */
export interface RegisteredProcess {
  readonly pid: number
  readonly startTime: string
  readonly spiffeId: string
}

export interface AgentProcessConfig extends ProcessConfig {
  readonly agentId: string
  readonly caAddress: string
  readonly socketPath: string
  readonly joinToken: string
  readonly roots: string
  readonly metrics: string
  readonly workloads: readonly RegisteredProcess[]
}

export interface AgentReady {
  readonly metrics: string
}

/** The CA does not know the node any more: it wants a new join token, by its call `attest`. */
export interface AgentEvent {
  readonly kind: 'unattested'
}

/** A file of manifests with its last good text. */
export interface SourceFile {
  readonly path: string
  readonly text: string
}

/** Calls of the policy server: `manifests`, `instances`, `status`, `unread`. */
export interface PolicyProcessConfig extends ProcessConfig {
  readonly agentSocket: string
  readonly listen: string
  readonly metrics: string
  readonly files: readonly SourceFile[]
  readonly instances: readonly WorkloadInstance[]
}

export interface PolicyReady {
  readonly address: string
  readonly metrics: string
}

/** Answer of the policy server's call `status`. */
export type PolicyStatus = readonly SubscriberStatus[]

export interface ProxyProcessConfig extends ProcessConfig {
  readonly workload: { readonly namespace: string; readonly name: string }
  readonly agentSocket: string
  readonly policyAddress: string
  readonly policyId: string
  readonly inbound: readonly {
    readonly port: number
    readonly listen: string
    readonly app: string
  }[]
  /** Where it is a gateway. */
  readonly gateway: readonly { readonly port: number; readonly listen: string }[]
  /** Absolute: where relative paths in manifests start. */
  readonly folder: string
  readonly outbound: string
  readonly admin: string
  readonly metrics: string
  readonly readiness: string
  readonly sourceAddress?: string
  readonly drainMs: number
  readonly accessLogFile: string
  readonly accessLog: 'all' | 'refusals'
}

export interface ProxyAddresses {
  readonly outbound: string
  /** By workload port, those of a gateway too. */
  readonly inbound: Readonly<Record<string, string>>
  readonly admin: string
  readonly metrics: string
  readonly readiness: string
}

/** The certificate that a sidecar uses now. Instants as ISO 8601. */
export interface HeldCertificate {
  readonly spiffeId: string
  readonly serial: string
  readonly issuedAt: string
  readonly notBefore: string
  readonly notAfter: string
  /** Leaf first. */
  readonly chainPem: string
  /** Generation of the trust bundle that it judges peers by. */
  readonly bundleGeneration: number
}

export interface ProxyReady {
  readonly addresses: ProxyAddresses
  readonly certificate: HeldCertificate
}

/** Refusals of one kind within a second. */
export interface DeniedRequests {
  readonly count: number
  /** Who asked: SPIFFE ID, or empty without mTLS. */
  readonly from: string
  readonly method: string
  readonly path: string
  readonly status: number
  /** What decided, as the access log says it. */
  readonly reason: string
}

export type ProxyEvent =
  | { readonly kind: 'certificate'; readonly certificate: HeldCertificate }
  | { readonly kind: 'denied'; readonly denied: DeniedRequests }
