import type { SpiffeId } from '#ca/spiffe/index.ts'
import type { Action, Claims, DryRunResult, MtlsMode } from '../model/index.ts'

/** What the caller speaks. `grpc` is HTTP/2 with gRPC's content type. */
export type QueryProtocol = 'http1' | 'http2' | 'grpc' | 'tcp'

/** A question: would this be let through? What is left out takes the default that is stated. */
export interface CheckQuery {
  readonly to: {
    readonly namespace: string
    readonly name: string
    /** Workload port. @default the workload's only one */
    readonly port?: number
  }
  /** `undefined`: plaintext. */
  readonly from: SpiffeId | undefined
  /** @default what the port declares; on one that detects: `http1` if any of HTTP is given, else `tcp` */
  readonly protocol?: QueryProtocol
  /** @default GET; POST for gRPC */
  readonly method?: string
  /** Request target as sent, with its query. @default `/` */
  readonly path?: string
  /** @default absent */
  readonly host?: string
  /** Lines of each header, by name in any case. */
  readonly headers?: Readonly<Record<string, readonly string[]>>
  /** Of a token taken as verified. @default no token */
  readonly claims?: Claims
  /** @default the caller's `sourceAddress` if it is a workload that has one, else 127.0.0.1 */
  readonly sourceIp?: string
  /** @default what `x-forwarded-for` says, else `sourceIp` */
  readonly remoteIp?: string
  /** @default 127.0.0.1 */
  readonly destinationIp?: string
  /** @default what a sidecar sends to the service of this port; absent on plaintext */
  readonly sni?: string
  /** What external providers would answer, by name. */
  readonly providers?: Readonly<Record<string, 'allow' | 'deny'>>
}

/** Why, in one word. Beyond those of `Decision`: what PeerAuthentication, HTTP and the question itself bring. */
export type CheckReason =
  | 'allowed-by-policy'
  | 'no-policy-applies'
  | 'no-sidecar'
  | 'denied-by-policy'
  | 'no-allow-matched'
  | 'custom-provider-unavailable'
  | 'evaluation-failed'
  | 'ambiguous-path'
  | 'token-refused'
  | 'needs-keys'
  | 'denied-by-provider'
  | 'provider-failed'
  | 'mtls-required'
  | 'mtls-disabled'
  | 'untrusted-domain'
  | 'not-http'
  | 'not-a-path'
  | 'forbidden-character'
  | 'escaped-nul'
  | 'unknown-method'
  | 'missing-content-type'
  | 'invalid-header'
  | 'no-resource'
  | 'needs-provider'
  | 'unknown-workload'
  | 'port-needed'

/** The answer; what `redoubt authz check --output json` prints (design.md §2). */
export interface CheckResult {
  readonly decision: 'allow' | 'deny' | 'error'
  /** Of the refusal; `null` when allowed, on TCP, and where no response is sent. */
  readonly status: number | null
  /** gRPC's own status of a refusal: 7, or 16 for a token. */
  readonly grpcStatus?: number
  /** Whose word it is. */
  readonly action: Action | 'none'
  /** `namespace/name` */
  readonly policy: string | null
  /** From 0. */
  readonly rule: number | null
  readonly reason: CheckReason
  /** `null` on TCP and for a target that could not be read. */
  readonly normalizedPath: string | null
  readonly mtlsMode: MtlsMode
  readonly dryRun: readonly DryRunResult[]
  /** `namespace/name` of AUDIT policies that matched. */
  readonly audit: readonly string[]
  /** Of a refused token: what the caller is told. */
  readonly detail?: string
  /** For a default denial: the ALLOW policies that applied. */
  readonly considered?: readonly string[]
  /** With `port-needed`: those to choose from. With `needs-provider`: the provider. */
  readonly choices?: readonly string[]
}
