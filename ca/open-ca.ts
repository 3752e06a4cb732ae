/** Opens the certificate authority: state, keys, ledger, its own certificate, then the listener. */
import type { Clock } from '#core/clock.ts'
import type { Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import { assertConfig, type CaConfig } from './config.ts'
import { CaError } from './error.ts'
import type { SpiffeId } from './spiffe/index.ts'
import type { TrustBundle } from './x509/index.ts'

/** What the CA needs from the world. */
export interface CaDeps {
  readonly now: () => Temporal.Instant
  readonly clock: Clock
  readonly log: Log
  /** Numbers in [0, 1) that spread renewals; not used for keys or serials. @default Math.random */
  readonly random?: () => number
}

/** A one-time permission for one agent to prove its node. */
export interface JoinToken {
  /** Lower-case hex of the SHA-256 of the token's text; the token itself is never stored. */
  readonly tokenSha256: string
  readonly agentId: SpiffeId
  /** What the agent may ask for: exact IDs, or prefixes that end in `/*`. */
  readonly scope: readonly string[]
  readonly expiresAt: Temporal.Instant
}

/** A running CA. Disposing it ends calls and connections, closes the ledger and lets go of the state. */
export interface Ca extends AsyncDisposable {
  /** `host:port` of the gRPC listener. */
  readonly address: string
  readonly bundle: Live<TrustBundle>
  /** What the CA's own server certificate says: `spiffe://<td>/ns/redoubt-system/sa/redoubt-ca`. */
  readonly serverId: SpiffeId
  readonly addJoinToken: (token: JoinToken) => Promise<void>
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
  deps.log('error', 'ca-not-built-yet')
  throw new CaError('CA_STATE_UNUSABLE', 'Cannot open the CA: its parts are not joined yet')
}
