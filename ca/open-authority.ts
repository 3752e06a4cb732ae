/** The half of the CA that has no network: state directory, ledger, keys, trust bundle. */
import { join } from 'node:path'

import type { Watched } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import type { JwtKeyAdmin } from './admin/jwt-keys.ts'
import { type AgentRegistry, createAgentRegistry } from './attest/join-token.ts'
import { type Book, renewedKeys } from './authorities/book.ts'
import { rootsOf } from './authorities/make.ts'
import { openAuthorities } from './authorities/open-authorities.ts'
import { forgetOlderState, readOlderState } from './authorities/older-state.ts'
import { type CaConfig, exactLives } from './config.ts'
import { type BundleSource, createBundleSource } from './issue/bundle-source.ts'
import { type Denials, openDenials } from './issue/denials.ts'
import type { SvidSigner } from './issue/issue-svid.ts'
import { type JwtKeyring, openJwtKeyring } from './keys/jwt-keyring.ts'
import { KEYS_FOLDER, openFileKeys } from './keys/file-keys.ts'
import type { KeyStore } from './keys/signing-key.ts'
import { openStateDir } from './keys/state-dir.ts'
import { type OpenLedger, openLedger, type Sharing } from './open-ledger.ts'
import type { Plugged } from './plugged/keep-plugged.ts'
import { type MaybePlugged, pluggedSource, withPlugged } from './plugged/plugged-authorities.ts'
import type { TrustBundle } from './x509/index.ts'

/** What can sign, and what remembers. Disposing it closes the ledger and lets go of the state. */
export interface OpenAuthority extends OpenLedger, Pick<Sharing, 'openBoard'>, MaybePlugged {
  readonly agents: AgentRegistry
  readonly bundle: Watched<TrustBundle>
  readonly publish: BundleSource['publish']
  readonly denials: Denials
  /** What signs tokens at an instant. */
  readonly jwtSigner: JwtKeyring['signer']
  /** Of the newest key for tokens. */
  readonly jwtLife: JwtKeyring['life']
  readonly jwtKeys: JwtKeyAdmin
  /** The issuing CA that signs now. @throws {CaError} `CA_SIGNER_UNAVAILABLE` if its chain is not in order */
  readonly signer: () => SvidSigner
  /** Prepares the next key for JWT-SVIDs and puts it in the bundle. */
  readonly renewJwt: () => Promise<void>
  /** Takes every step of the keys that is due, and all that other CAs on the database have done. */
  readonly keepUp: () => Promise<void>
}

/** Opening what can be of several kinds, once nobody else has the state. */
export interface OpenWith {
  /** What keeps the CA's keys. @default files that are not encrypted */
  readonly openKeys?: (stateDir: string) => Promise<KeyStore>
  /** A CA of somebody else's; left out: the CA makes its own. */
  readonly openPlugged?: ((store: KeyStore) => Promise<Plugged>) | undefined
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly log?: Log
}

/**
 * Opens what lies below `config.stateDir`, making it on first start.
 *
 * @throws {CaError} `CA_STATE_UNUSABLE`, `CA_SIGNER_UNAVAILABLE`
 */
export async function openAuthority(
  config: CaConfig,
  now: () => Temporal.Instant,
  { openKeys = plainFileKeys, openPlugged, env = {}, log = () => {} }: OpenWith = {},
): Promise<OpenAuthority> {
  await using opening = new AsyncDisposableStack()
  const state = await openStateDir(config.stateDir)
  // Before the keys: its lock is what keeps a second CA from making keys of its own here.
  const recorded = opening.use(await openLedger(config, state, { now, env, log }))
  const store = opening.use(recorded.keys ?? (await openKeys(state.path)))
  const open = () => openRecorded(config, now, recorded, store, openPlugged)
  const authority = await recorded.alone(open)
  recorded.onChange(() => {
    authority.keepUp().catch((cause: unknown) => {
      log('error', 'ca-authorities-not-kept-up', { detail: String(cause) })
    })
  })
  const opened = opening.move()
  return { ...recorded, ...authority, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}

async function openRecorded(
  config: CaConfig,
  now: () => Temporal.Instant,
  recorded: OpenLedger & Sharing,
  store: KeyStore,
  openPlugged: OpenWith['openPlugged'],
): Promise<Omit<OpenAuthority, keyof OpenLedger | 'openBoard'>> {
  const { trustDomain } = config
  const { queries, ledger, transparency, files: state, alone } = recorded
  const plugged = await openPlugged?.(store)
  const keys = { ...exactLives(config), state, store, trustDomain, now }
  let published: BundleSource | undefined
  const trusted = (book: Book) => ({
    roots: rootsOf(book),
    renewKeys: [...renewedKeys(book), ...jwt.taintedKeys()],
    jwtKeys: jwt.publicKeys(),
  })
  const authorities = await openAuthorities({
    ...keys,
    queries,
    ledger,
    plugged: plugged && pluggedSource(plugged, keys),
    before: () => readOlderState(keys),
    changed: async (book) => published?.publish(trusted(book), book.version),
  })
  const jwt = await openJwtKeyring(keys, keys.caTtl, now())
  const { current: opened } = authorities.book
  const first = { trustDomain, ...trusted(opened) }
  const bundle = await createBundleSource(queries, first, opened.version)
  published = bundle
  await forgetOlderState(state)
  await authorities.keepUp()
  const denials = await openDenials({ queries, ledger, trustDomain, now, alone })
  await transparency.keepSeen()
  const publishJwt = () => {
    const { current } = authorities.book
    return bundle.publish(trusted(current), current.version)
  }
  const changeJwt = async (change: () => Promise<void>): Promise<void> => {
    await alone(change)
    await publishJwt()
  }
  return {
    agents: createAgentRegistry({ queries, ledger, trustDomain, now }),
    bundle: bundle.live,
    publish: bundle.publish,
    denials,
    ...forTokens(jwt, now, changeJwt),
    ...withPlugged(authorities, plugged),
    signer: authorities.signer,
    async keepUp() {
      await authorities.keepUp()
      if (await jwt.reload()) await publishJwt()
      await denials.reload()
      await bundle.refresh()
    },
  }
}

/** @param change - Does it while no other CA does, and puts what comes of it in every bundle. */
function forTokens(
  jwt: JwtKeyring,
  now: () => Temporal.Instant,
  change: (work: () => Promise<void>) => Promise<void>,
): Pick<OpenAuthority, 'jwtSigner' | 'jwtLife' | 'jwtKeys' | 'renewJwt'> {
  return {
    jwtSigner: jwt.signer,
    jwtLife: jwt.life,
    renewJwt: () => change(() => jwt.prepare(now())),
    jwtKeys: {
      list: jwt.list,
      taint: (keyId) => change(() => jwt.taint(keyId, now())),
      revoke: (keyId, force) => change(() => jwt.revoke(keyId, force, now())),
    },
  }
}

function plainFileKeys(stateDir: string): Promise<KeyStore> {
  return openFileKeys(join(stateDir, KEYS_FOLDER), undefined)
}
