/** What a `Mesh` says of its certificate authority and of other trust domains. Paths are as they were written. */
import type { TrustDomain } from '#ca/spiffe/index.ts'

/** Where a secret is; the secret is in no manifest. */
export type SecretPlace = { readonly file: string } | { readonly env: string }

/** Where the authority's keys are kept. */
export type KeyStoreIntent =
  | { readonly kind: 'memory' }
  | { readonly kind: 'files'; readonly passphrase?: SecretPlace }
  | {
      readonly kind: 'pkcs11'
      readonly module: string
      readonly token: string
      readonly pin: SecretPlace
    }

/** A ledger in PostgreSQL. */
export interface LedgerIntent {
  readonly kind: 'postgres'
  /** `postgres://user@host:port/database`, without a password. */
  readonly url: string
  /** Left out: what PGPASSWORD or PGPASSFILE says. */
  readonly password?: SecretPlace
  /** Encrypts the keys that CAs share through it. */
  readonly passphrase: SecretPlace
  /** PEM of who vouches for the server. */
  readonly caFile?: string
}

/** What an agent becomes that is let in by a rule. */
export interface AgentIntent {
  readonly agentId: string
  readonly scope: readonly string[]
}

/** The certificate authority of a mesh; what is left out is as without the manifest. */
export interface AuthorityIntent {
  /** CAs that run at a time. */
  readonly replicas?: number
  /** Left out: SQLite, in the state directory. */
  readonly ledger?: LedgerIntent
  readonly keys?: KeyStoreIntent
  /** `host:port` of the first CA; left out: a free port of this machine alone. */
  readonly listen?: string
  /** DNS names of its server certificate. */
  readonly serverNames?: readonly string[]
  /** A directory in the layout of Istio's `cacerts`. */
  readonly pluggedIn?: string
  /** A cluster whose tokens are believed. */
  readonly kubernetes?: {
    /** A file, or `in-cluster`. */
    readonly kubeconfig: string
    readonly audiences: readonly string[]
    readonly agents: readonly (AgentIntent & {
      readonly namespace: string
      readonly serviceAccount: string
    })[]
  }
  /** Machines whose certificates are believed. */
  readonly machines?: readonly (AgentIntent & {
    readonly rootsFile: string
    readonly name: string
  })[]
}

/** Federation with other trust domains. */
export interface FederationIntent {
  /** Left out: the bundle is not served. */
  readonly endpoint?: {
    /** `host:port`. */
    readonly listen: string
    readonly refreshHintSeconds?: number
    /** With these by a certificate of the web, without by the CA's own SVID. */
    readonly certificate?: { readonly certificateFile: string; readonly keyFile: string }
  }
  readonly trustDomains: readonly {
    readonly name: TrustDomain
    readonly url: string
    readonly profile:
      | { readonly kind: 'https_web'; readonly rootsFile?: string }
      | {
          readonly kind: 'https_spiffe'
          readonly endpointSpiffeId: string
          readonly bootstrapFile?: string
        }
  }[]
}
