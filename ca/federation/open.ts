/** A CA's two halves of federation: what it says of itself, and whom it believes. */
import { join } from 'node:path'

import type { Clock } from '#core/clock.ts'
import type { Log } from '#core/log.ts'
import { CaError } from '../error.ts'
import type { CallRow } from '../issue/database.ts'
import type { Ledger } from '../issue/ledger.ts'
import { openStateDir } from '../keys/state-dir.ts'
import type { OpenAuthority } from '../open-authority.ts'
import type { TlsIdentity } from '../serve/listen-tls.ts'
import type { TrustDomain } from '../spiffe/index.ts'
import { createFederation, type FederationStatus } from './keep.ts'
import { type Relationship, relationshipFaults } from './relationship.ts'
import { type EndpointConfig, serveEndpoint } from './serve.ts'

/** What an operator wants of federation. */
export interface FederationConfig {
  /** Left out: the bundle is not served. */
  readonly endpoint?: EndpointConfig
  /** Trust domains that are believed. @default none */
  readonly trustDomains?: readonly Relationship[]
}

/** Federation of a running CA. */
export interface CaFederation {
  /** `host:port` of the bundle endpoint; `undefined` if there is none. */
  readonly address: string | undefined
  /**
   * Believes these trust domains, and no other, from now on; the rest leaves every bundle.
   *
   * @param caller - Who wants it, for the log.
   * @throws {CaError} `CA_CONFIG_INVALID` with everything that is wrong; then nothing is changed
   */
  readonly set: (relationships: readonly Relationship[], caller?: string) => Promise<void>
  readonly status: () => readonly FederationStatus[]
}

export interface OpenFederationDeps {
  readonly trustDomain: TrustDomain
  /** Absolute. */
  readonly stateDir: string
  readonly authority: Pick<OpenAuthority, 'bundle' | 'publish'>
  readonly ledger: Pick<Ledger, 'record'>
  readonly identity: () => TlsIdentity | undefined
  readonly now: () => Temporal.Instant
  readonly clock: Clock
  readonly random: () => number
  readonly log: Log
}

/** Folder of other domains' bundles below the state directory. */
const FOLDER = 'federation'

/** @throws {CaError} `CA_CONFIG_INVALID`, `CA_LISTEN_FAILED`, `CA_STATE_UNUSABLE` */
export async function openFederation(
  { endpoint: wanted, trustDomains = [] }: FederationConfig,
  deps: OpenFederationDeps,
): Promise<CaFederation & AsyncDisposable> {
  const { authority, trustDomain, ledger, now } = deps
  await using opening = new AsyncDisposableStack()
  const federation = opening.use(
    createFederation({
      ...deps,
      state: await openStateDir(join(deps.stateDir, FOLDER)),
      own: () => authority.bundle.current,
      publish: (federated) => authority.publish({ federated }),
    }),
  )
  const set: CaFederation['set'] = async (relationships, caller = 'configuration') => {
    const faults = relationshipFaults(relationships, trustDomain)
    if (faults.length > 0) {
      throw new CaError('CA_CONFIG_INVALID', `Cannot federate: ${faults.join('; ')}`)
    }
    if (relationships.length === 0 && federation.status().length === 0) return
    await ledger.record({ calls: [callOf(relationships, caller, now())] })
    await federation.set(relationships)
  }
  await set(trustDomains)
  const endpoint =
    wanted && opening.use(await serveEndpoint(wanted, { ...deps, bundle: authority.bundle }))
  const opened = opening.move()
  return {
    address: endpoint?.address,
    set,
    status: federation.status,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

function callOf(
  relationships: readonly Relationship[],
  caller: string,
  now: Temporal.Instant,
): CallRow {
  const domains = relationships.map(({ trustDomain, url, profile: { kind } }) => ({
    trustDomain,
    url,
    profile: kind,
  }))
  const detail = JSON.stringify(domains)
  return { at: now.epochMilliseconds, caller, action: 'federate', detail, outcome: 'done' }
}
