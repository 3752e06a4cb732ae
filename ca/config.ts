/** What a CA is told at its start, and what it refuses to start with. */
import type { CertificateRule } from './attest/certificate-proof.ts'
import type { KubernetesConfig } from './attest/kubernetes.ts'
import { CaError } from './error.ts'
import type { FederationConfig } from './federation/open.ts'
import { DEFAULT_RATES, type SigningRates } from './issue/signing-limit.ts'
import { keyStoreFaults } from './keys/key-faults.ts'
import type { KeyStoreConfig } from './keys/open-keys.ts'
import { ledgerFaults } from './postgres/config-faults.ts'
import type { PostgresConfig } from './postgres/pool.ts'
import type { SpiffeId, TrustDomain } from './spiffe/index.ts'

export interface CaConfig {
  readonly trustDomain: TrustDomain
  /** Absolute path of a directory for keys and ledger; made with mode 0700 if it is not there. */
  readonly stateDir: string
  /** Port 0 takes a free one. */
  readonly listen: { readonly host: string; readonly port: number }
  /**
   * DNS names of the CA's server certificate, for clients that know a server by its name: Istio's agents.
   * At most 16, lower case. @default none: agents of ours know it by its SPIFFE ID
   */
  readonly serverNames?: readonly string[]
  /** Life of a leaf that asks for none. */
  readonly leafTtl: Temporal.Duration
  /** Longest life that a leaf may ask for. */
  readonly maxLeafTtl: Temporal.Duration
  /** Life of the issuing CA; at least six times `leafTtl`. */
  readonly caTtl: Temporal.Duration
  /** Life of the root; at least `caTtl`. */
  readonly rootTtl: Temporal.Duration
  /** How long rows of leaves stay in the ledger after their end. @default 90 days */
  readonly retention?: Temporal.Duration
  /**
   * Who else may administer the CA: workloads of the trust domain, known by their certificates.
   * @default nobody but `spiffe://<td>/ns/redoubt-system/sa/redoubt-admin`
   */
  readonly administrators?: readonly SpiffeId[]
  /** How much callers may ask for. @default DEFAULT_RATES */
  readonly signing?: SigningRates
  /**
   * Absolute path of a directory with a CA of somebody else's, in the layout of Istio's `cacerts`.
   * It is followed as it changes. @default the CA makes its own root and issuing CA
   */
  readonly pluggedIn?: string
  /** Which other trust domains it believes, and where it says what it is believed by. @default none */
  readonly federation?: FederationConfig
  /** Whom it believes of an agent, besides join tokens. @default nobody */
  readonly attestation?: AttestationConfig
  /** Where the ledger is. @default SQLite, in the state directory, for one CA alone */
  readonly ledger?: PostgresConfig
  /** Where its keys are. @default files that are not encrypted */
  readonly keys?: KeyStoreConfig
}

/** Evidence of an agent that is believed. */
export interface AttestationConfig {
  /** Certificates of other authorities; the first rule that fits is taken. */
  readonly certificates?: readonly CertificateRule[]
  /** Tokens of a cluster, which `CaDeps.reviewToken` asks. */
  readonly kubernetes?: KubernetesConfig
}

/**
 * The issuing CA must outlive its leaves by enough that a successor is made, spread and in use
 * before any leaf is cut short by its issuer's end.
 */
const MIN_LEAF_LIVES_PER_CA = 6

/**
 * Milliseconds. What is due is looked for every 5 s (keep-up.ts): the last sixth of a life, in which the next
 * issuing CA takes over, must have such a look in it.
 */
const MIN_CA_TTL_MS = 30_000

/** Everything that is wrong with `config`; empty when nothing is. Pure. */
export function configFaults(config: CaConfig): readonly string[] {
  const { stateDir, listen } = config
  const { host, port } = listen
  const isPort = Number.isInteger(port) && port >= 0 && port <= 65_535
  return faultsOf([
    [stateDir.startsWith('/'), `stateDir is "${stateDir}", expected an absolute path`],
    [
      config.pluggedIn?.startsWith('/') ?? true,
      `pluggedIn is "${config.pluggedIn}", expected an absolute path`,
    ],
    [host !== '', 'listen.host is empty, expected an address'],
    [isPort, `listen.port is ${port}, expected 0 to 65535`],
    ...nameRules(config.serverNames ?? []),
    ...rateRules(config.signing ?? DEFAULT_RATES),
    ...lifeRules(config),
  ]).concat(keyStoreFaults(config.keys), ledgerFaults(config))
}

type Rule = readonly [holds: boolean, fault: string]

function faultsOf(rules: readonly Rule[]): readonly string[] {
  return rules.flatMap(([holds, fault]) => (holds ? [] : [fault]))
}

/** Names of a server certificate: each is carried in every handshake. */
const MAX_SERVER_NAMES = 16

/** Labels of letters, digits and dashes; the last is no number, or it would be an address. */
const DNS_NAME =
  /^(?!.{254})(?!(?:.*\.)?\d+$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.(?!$)|$))+$/

function nameRules(names: readonly string[]): readonly Rule[] {
  const count = names.length
  return [
    [
      count <= MAX_SERVER_NAMES,
      `serverNames has ${count} names, expected at most ${MAX_SERVER_NAMES}`,
    ],
    ...names.map(
      (name): Rule => [
        DNS_NAME.test(name),
        `serverNames has ${JSON.stringify(name)}, expected a DNS name in lower case`,
      ],
    ),
  ]
}

function rateRules(rates: SigningRates): readonly Rule[] {
  return Object.entries(rates).flatMap(([name, { perSecond, burst }]): readonly Rule[] => [
    [perSecond > 0, `signing.${name}.perSecond is ${perSecond}, expected above 0`],
    [burst >= 1, `signing.${name}.burst is ${burst}, expected at least 1`],
  ])
}

/** Each with its fault; NaN, for a life without a fixed length, breaks no rule but the first. */
function lifeRules({ leafTtl, maxLeafTtl, caTtl, rootTtl }: CaConfig): readonly Rule[] {
  const leafMs = milliseconds(leafTtl)
  const caMs = milliseconds(caTtl)
  const fixed = Object.entries({ leafTtl, maxLeafTtl, caTtl, rootTtl }).map(
    ([name, life]): Rule => [
      !Number.isNaN(milliseconds(life)),
      `${name} is ${life}, expected days or smaller units: years and months have no fixed length`,
    ],
  )
  return [
    ...fixed,
    [!(leafMs < 1000), `leafTtl is ${leafTtl}, expected at least PT1S`],
    [
      !(milliseconds(maxLeafTtl) < leafMs),
      `maxLeafTtl is ${maxLeafTtl}, expected at least leafTtl (${leafTtl})`,
    ],
    [
      !(caMs < MIN_LEAF_LIVES_PER_CA * leafMs),
      `caTtl is ${caTtl}, expected at least ${MIN_LEAF_LIVES_PER_CA} times leafTtl (${leafTtl})`,
    ],
    [
      !(caMs < MIN_CA_TTL_MS),
      `caTtl is ${caTtl}, expected at least PT${MIN_CA_TTL_MS / 1000}S: its successor is looked for every 5 s`,
    ],
    [!(milliseconds(rootTtl) < caMs), `rootTtl is ${rootTtl}, expected at least caTtl (${caTtl})`],
  ]
}

/** @throws {CaError} `CA_CONFIG_INVALID` naming every fault */
export function assertConfig(config: CaConfig): void {
  const faults = configFaults(config)
  if (faults.length === 0) return
  throw new CaError('CA_CONFIG_INVALID', `Cannot start the CA: ${faults.join('; ')}`)
}

/** The lives in `config` in exact time, a day being 24 hours: what can be added to an instant. */
export function exactLives(
  config: CaConfig,
): Pick<CaConfig, 'leafTtl' | 'maxLeafTtl' | 'caTtl' | 'rootTtl'> {
  const exact = (duration: Temporal.Duration) =>
    Temporal.Duration.from({ milliseconds: Math.trunc(milliseconds(duration)) })
  return {
    leafTtl: exact(config.leafTtl),
    maxLeafTtl: exact(config.maxLeafTtl),
    caTtl: exact(config.caTtl),
    rootTtl: exact(config.rootTtl),
  }
}

/** NaN for a duration with years or months, whose length depends on when they start. */
function milliseconds(duration: Temporal.Duration): number {
  const { years, months, weeks, days } = duration
  if (years !== 0 || months !== 0) return Number.NaN
  return duration.with({ weeks: 0, days: 0 }).total('milliseconds') + (weeks * 7 + days) * DAY_MS
}

const DAY_MS = 86_400_000
