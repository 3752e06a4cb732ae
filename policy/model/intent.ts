/**
 * All that an operator wants, after its dialects have been forgotten: what `readManifests` makes
 * and what assembly turns into one bundle a workload.
 *
 * Hosts are FQDNs in lower case, short names already completed with the namespace of the object
 * that used them (§5.1). A field left out does not constrain or is inherited; it is never the same
 * as an empty one.
 *
 * Long because it is all types, and one intent is read as a whole.
 */
import type { SpiffeId, TrustDomain } from '#ca/spiffe/index.ts'
import type { AuthorizationPolicy } from './authorization.ts'
import type { MtlsMode, PathNormalization, PortProtocol } from './bundle.ts'
import type { ServiceProvider } from './extension-provider.ts'
import type { AuthorityIntent, FederationIntent } from './mesh-authority.ts'
import type { Gateway } from './gateway.ts'
import type { RequestAuthentication } from './request-authentication.ts'
import type { DestinationRule, RetryIntent, VirtualService } from './traffic.ts'

export type Labels = Readonly<Record<string, string>>

/** An object's name, and what decides which of two wins: the oldest, then name, then namespace (§0.6). */
export interface ObjectRef {
  readonly namespace: string
  readonly name: string
  /** `metadata.creationTimestamp`; files rarely have one, and then only names decide. */
  readonly createdAt?: Temporal.Instant
}

/** Namespaces that may see an object: `*` alone, or names; empty: nobody (§0.5). */
export type ExportTo = readonly string[]

/** Mesh-wide settings: kind `Mesh`, in the words of Istio's MeshConfig. */
/** Where the keys of token issuers may be fetched from. */
export interface JwksFetching {
  /** CIDR blocks of private addresses that may be asked, beside all public ones. */
  readonly allowedCidrs: readonly string[]
  /** PEM: authorities that a server's certificate may chain to, beside those of the platform. */
  readonly caCertificates?: string
}

export interface Mesh {
  readonly trustDomain: TrustDomain
  readonly trustDomainAliases: readonly TrustDomain[]
  /** Policies in it apply to every namespace. */
  readonly rootNamespace: string
  readonly certificates: CertificateLives
  readonly certificateAuthority?: AuthorityIntent
  readonly federation?: FederationIntent
  readonly outboundPolicy: 'ALLOW_ANY' | 'REGISTRY_ONLY'
  readonly pathNormalization: PathNormalization
  /** Off: clients speak plaintext unless a DestinationRule says ISTIO_MUTUAL (§2.5). */
  readonly autoMtls: boolean
  /** Whether sidecars log every request, or those that policy refused (MeshConfig `accessLogFile`). */
  readonly accessLog: 'all' | 'refusals'
  readonly jwks: JwksFetching
  /** For connections whose DestinationRule names none. */
  readonly connectTimeoutMs: number
  /** Takes the place of §5.8's default where a route has no `retries`. */
  readonly defaultRetry?: RetryIntent
  /**
   * Those that can be asked (§1.11). Left out: the manifests say nothing of providers, which to a
   * sidecar is the same as none.
   */
  readonly extensionProviders?: readonly NamedProvider[]
  /** Whether policies of one workload may ask several; else they deny what they match (§1.11). */
  readonly severalProviders: boolean
}

/** An entry of MeshConfig's `extensionProviders`. */
export interface NamedProvider {
  /** DNS label. */
  readonly name: string
  /** Of the service, where the host alone would not say which. */
  readonly namespace?: string
  readonly settings: ServiceProvider
}

export interface CertificateLives {
  readonly leafTtl: Temporal.Duration
  readonly maxLeafTtl: Temporal.Duration
  readonly caTtl: Temporal.Duration
  readonly rootTtl: Temporal.Duration
}

export interface Namespace {
  readonly name: string
  readonly labels: Labels
}

export interface ServicePort {
  /** Empty when the manifest gives none. */
  readonly name: string
  /** What clients address, 1..65535. */
  readonly port: number
  /** Workload port: a number, or the name of a port of the workload. */
  readonly targetPort: number | string
  /** `udp` is never proxied (§0.7). */
  readonly protocol: PortProtocol | 'udp'
}

/** A Kubernetes Service. */
export interface Service extends ObjectRef {
  /** `<name>.<namespace>.svc.cluster.local`. */
  readonly host: string
  readonly labels: Labels
  /** Of the workloads behind it; left out: none. */
  readonly selector?: Labels
  readonly ports: readonly ServicePort[]
  readonly exportTo: ExportTo
}

export interface ServiceEntryEndpoint {
  /** IP address or host name. */
  readonly address: string
  /** Port by the name of the entry's port; left out: the entry's targetPort. */
  readonly ports: Readonly<Record<string, number>>
  readonly labels: Labels
  /** Who answers there; empty when unknown. */
  readonly serviceAccount: string
}

export interface ServiceEntry extends ObjectRef {
  /** FQDNs or wildcards. */
  readonly hosts: readonly string[]
  /** Virtual addresses, IP or CIDR, by which clients may also reach it. */
  readonly addresses: readonly string[]
  readonly ports: readonly ServicePort[]
  readonly location: 'MESH_EXTERNAL' | 'MESH_INTERNAL'
  readonly resolution: 'NONE' | 'STATIC' | 'DNS' | 'DNS_ROUND_ROBIN' | 'DYNAMIC_DNS'
  readonly endpoints: readonly ServiceEntryEndpoint[]
  /** Who may answer, in place of the accounts of its endpoints. */
  readonly subjectAltNames?: readonly SpiffeId[]
  /** Of the workloads of its own namespace that are its endpoints. */
  readonly workloadSelector?: Labels
  readonly exportTo: ExportTo
}

/** Kind `Workload` of `redoubt.io/v1alpha1`: one application process and its sidecar. */
export interface Workload extends ObjectRef {
  readonly labels: Labels
  readonly serviceAccount: string
  /** Its label `sidecar.istio.io/inject` is not `"false"`. */
  readonly sidecar: boolean
  /** Not empty; the first is what `PORT` tells the app. */
  readonly ports: readonly WorkloadPort[]
  readonly app: WorkloadApp
  readonly ready?: ReadinessProbe
  /** An address of 127.0.0.0/8 from which its sidecar connects. */
  readonly sourceAddress?: string
  readonly proxyPorts: ProxyPorts
}

export interface WorkloadPort {
  /** Empty when the manifest gives none. */
  readonly name: string
  /** Workload port, 1..65535. */
  readonly port: number
}

export type WorkloadApp =
  | {
      readonly kind: 'run'
      /** Program and arguments, not empty; never through a shell. */
      readonly command: readonly string[]
      readonly env: Readonly<Record<string, string>>
      /** Relative to the manifest's folder; left out: that folder. */
      readonly cwd?: string
      /** Path of the manifest, as given to `readManifests`. */
      readonly manifest: string
    }
  | {
      readonly kind: 'address'
      /** IP address or host name where the app already listens. */
      readonly host: string
      /** Left out: each workload port itself. */
      readonly port?: number
    }

/** `port` is a workload port. */
export type ReadinessProbe =
  | { readonly kind: 'http'; readonly path: string; readonly port: number }
  | { readonly kind: 'tcp'; readonly port: number }

/** Fixed ports for a workload's sidecar; one left out is chosen free. */
export interface ProxyPorts {
  readonly outbound?: number
  /** By workload port. */
  readonly inbound: Readonly<Record<string, number>>
  readonly admin?: number
  readonly metrics?: number
  readonly readiness?: number
}

/** Workloads in scope that carry all labels; left out: every workload in scope (§0.4). */
export interface AuthorizationIntent extends ObjectRef {
  readonly selector?: Labels
  /** Attached to gateways and services by reference: never applies to a sidecar (§0.4). */
  readonly targeted: boolean
  readonly policy: AuthorizationPolicy
}

export interface PeerAuthentication extends ObjectRef {
  /** Left out, or without labels: the namespace or, in the root namespace, the mesh. */
  readonly selector?: Labels
  /** Left out: inherited. */
  readonly mode?: MtlsMode
  /** By workload port; `undefined` inherits the workload's mode. */
  readonly ports: Readonly<Record<string, MtlsMode | undefined>>
  /** Tried out: it decides nothing, and what it would refuse is recorded (ours, no part of Istio). */
  readonly dryRun: boolean
}

/** A Kubernetes ConfigMap. */
export interface ConfigMap extends ObjectRef {
  readonly data: Readonly<Record<string, string>>
}

/** A Kubernetes Secret. It stays where manifests are read, but for the certificate that a gateway shows: no other sidecar gets any of it. */
export interface Secret extends ObjectRef {
  /** Decoded. */
  readonly data: Readonly<Record<string, string>>
}

/** An entry of a ConfigMap or Secret of the same namespace. */
export interface KeyRef {
  readonly name: string
  readonly key: string
}

/** A text in a manifest, or in a ConfigMap beside it. */
export type TextSource =
  | { readonly kind: 'inline'; readonly text: string }
  | ({ readonly kind: 'config-map' } & KeyRef)

/** A secret text: of a Secret, or in a file of whoever reads the database. */
export type SecretSource =
  | ({ readonly kind: 'secret' } & KeyRef)
  | { readonly kind: 'file'; readonly path: string }

/** Where rows of a policy are kept. */
export interface PostgresSource {
  readonly kind: 'postgres'
  /** Name, address, or a folder with a Unix socket. */
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
  readonly table: string
  readonly password?: SecretSource
  /** `verify`: the server proves its name by `ca`, or by the system's roots. */
  readonly tls: 'verify' | 'disable'
  readonly ca?: TextSource
  /** Milliseconds between two readings. */
  readonly refreshMs: number
}

/** Kind `CasbinPolicy` of `redoubt.io/v1alpha1`: a model and policy of the operator's own. */
export interface CasbinPolicy extends ObjectRef {
  readonly model: TextSource
  readonly policy: TextSource | PostgresSource
  /** Attributes by field of the model's request definition. */
  readonly request: Readonly<Record<string, string>>
  /** Milliseconds that one decision may take. */
  readonly timeMs: number
}

export interface Intent {
  readonly mesh: Mesh
  readonly namespaces: readonly Namespace[]
  readonly services: readonly Service[]
  readonly serviceEntries: readonly ServiceEntry[]
  readonly workloads: readonly Workload[]
  readonly authorizationPolicies: readonly AuthorizationIntent[]
  readonly peerAuthentications: readonly PeerAuthentication[]
  readonly requestAuthentications: readonly RequestAuthentication[]
  readonly virtualServices: readonly VirtualService[]
  readonly destinationRules: readonly DestinationRule[]
  readonly gateways: readonly Gateway[]
  readonly configMaps: readonly ConfigMap[]
  readonly secrets: readonly Secret[]
  readonly casbinPolicies: readonly CasbinPolicy[]
}

/** A workload that runs, and where its peers reach it. */
export interface WorkloadInstance {
  readonly namespace: string
  readonly name: string
  readonly labels: Labels
  readonly serviceAccount: string
  /** Without one, peers speak plaintext to its app. */
  readonly sidecar: boolean
  readonly ports: readonly InstancePort[]
}

export interface InstancePort {
  /** Workload port, 1..65535. */
  readonly port: number
  /** Empty when the workload gives none. */
  readonly name: string
  /**
   * `host:port` that peers dial: the sidecar's inbound listener, or the app without a sidecar; empty
   * while it does not serve: it has its configuration, and nobody is sent to it.
   */
  readonly address: string
}

/** Something wrong, or doubtful, in one place of one document. */
export interface Fault {
  /** JSON Pointer (RFC 6901) into the document, e.g. `/spec/rules/0/from/0/source/principals`; empty: the document. */
  readonly pointer: string
  /** In the file, from 1. */
  readonly line: number
  readonly message: string
  readonly hint?: string
}

/** What `redoubt validate` prints for one document (design.md §2). */
export interface DocumentReport {
  readonly file: string
  /** Position in the file, from 1. */
  readonly document: number
  /** Where it begins in the file, from 1. */
  readonly line: number
  /** Empty when the document does not say, as are `namespace` (of what has none) and `name`. */
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly valid: boolean
  readonly errors: readonly Fault[]
  readonly warnings: readonly Fault[]
  /** What is valid and no mesh of ours carries out: then the object is not in the intent. */
  readonly unsupported: readonly Fault[]
  /** Of a kind that is no business of a mesh: nothing was read of it. */
  readonly skipped?: true
}
