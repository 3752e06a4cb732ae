/** The half of the CA that has no network: state directory, ledger, keys, trust bundle. */
import { join } from 'node:path'

import type { Live } from '#core/live.ts'
import { type AgentRegistry, createAgentRegistry } from './attest/join-token.ts'
import { type CaConfig, exactLives } from './config.ts'
import { type BundleSource, createBundleSource } from './issue/bundle-source.ts'
import { type Denials, openDenials } from './issue/denials.ts'
import { createSvidSigner, type SvidSigner } from './issue/issue-svid.ts'
import type { Authority } from './keys/authority.ts'
import { authorityRow } from './keys/authority-row.ts'
import { type JwtKeyring, openJwtKeyring } from './keys/jwt-keyring.ts'
import { type KeyStoreInput, openIssuing, openRoot, renewIssuing } from './keys/key-store.ts'
import { KEYS_FOLDER, openFileKeys } from './keys/file-keys.ts'
import type { KeyStore } from './keys/signing-key.ts'
import { openStateDir } from './keys/state-dir.ts'
import { type OpenLedger, openLedger } from './open-ledger.ts'
import type { TrustBundle } from './x509/index.ts'

/** What can sign, and what remembers. Disposing it closes the ledger and lets go of the state. */
export interface OpenAuthority extends OpenLedger {
  readonly agents: AgentRegistry
  readonly bundle: Live<TrustBundle>
  readonly publish: BundleSource['publish']
  readonly denials: Denials
  /** What signs tokens at an instant. */
  readonly jwtSigner: JwtKeyring['signer']
  /** Of the newest key for tokens. */
  readonly jwtLife: JwtKeyring['life']
  readonly root: Authority
  /** The issuing CA that signs now. */
  readonly signer: () => SvidSigner
  /** Prepares the next key for JWT-SVIDs and puts it in the bundle. */
  readonly renewJwt: () => Promise<void>
  /** Makes a new issuing CA under the same root and signs with it from then on. */
  readonly renew: () => Promise<void>
}

/**
 * Opens what lies below `config.stateDir`, making it on first start.
 *
 * @param openKeys - Opens what keeps its keys, once nobody else has the state.
 * @throws {CaError} `CA_STATE_UNUSABLE`, `CA_SIGNER_UNAVAILABLE`
 */
export async function openAuthority(
  config: CaConfig,
  now: () => Temporal.Instant,
  openKeys: (stateDir: string) => Promise<KeyStore> = plainFileKeys,
): Promise<OpenAuthority> {
  const { trustDomain, stateDir } = config
  await using opening = new AsyncDisposableStack()
  const state = await openStateDir(stateDir)
  // Before the keys: its lock is what keeps a second CA from making keys of its own here.
  const recorded = opening.use(await openLedger(config, state, now))
  const { queries, ledger, transparency } = recorded
  const store = opening.use(await openKeys(state.path))
  const keys: KeyStoreInput = {
    ...exactLives(config),
    state,
    store,
    trustDomain,
    record: (authority, kind, issuer) =>
      ledger.record({ certificates: [authorityRow(authority, kind, issuer)] }),
  }

  const root = await openRoot(keys, now())
  let signer = createSvidSigner(await openIssuing(keys, root, now()))
  const jwt = await openJwtKeyring(keys, keys.caTtl, now())
  const first = { trustDomain, roots: [root.certificate.der], jwtKeys: jwt.publicKeys() }
  const bundle = await createBundleSource(queries, first)
  const denials = await openDenials({ queries, ledger, trustDomain, now })
  await transparency.keepSeen()
  const opened = opening.move()
  return {
    ...recorded,
    agents: createAgentRegistry({ queries, ledger, trustDomain, now }),
    bundle: bundle.live,
    publish: bundle.publish,
    denials,
    jwtSigner: jwt.signer,
    jwtLife: jwt.life,
    root,
    signer: () => signer,
    async renewJwt() {
      await jwt.prepare(now())
      await bundle.publish({ jwtKeys: jwt.publicKeys() })
    },
    async renew() {
      signer = createSvidSigner(await renewIssuing(keys, root, now()))
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

function plainFileKeys(stateDir: string): Promise<KeyStore> {
  return openFileKeys(join(stateDir, KEYS_FOLDER), undefined)
}
