/** One workload under one set of manifests, as boxes: what each line of each group asks for. */
import { trustDomainOf, parseSpiffeId } from '#ca/spiffe/index.ts'
import { groupPolicies } from '../casbin/groups.ts'
import { ANY, type Chain, linesOf, type PolicyLine } from '../casbin/lines.ts'
import {
  type AuthorizationPolicy,
  type Condition,
  type InboundBundle,
  isAmbiguousPath,
  type Mesh,
  type MtlsMode,
  type Rule,
  type Operation,
  type PortProtocol,
  type Source,
  withoutPathParameters,
} from '../model/index.ts'
import { PolicyError } from '../error.ts'
import {
  allOf,
  type Alternatives,
  type Atom,
  type Literal,
  MAX_ALTERNATIVES,
  readCondition,
  readFields,
} from './literal.ts'
import { refusedTokens, viewsOf, withTokens } from './token-boxes.ts'
import type { TokenView } from './tokens.ts'

/**
 * What a box is for. `refuse`: the handshake fails. `ambiguous`: the path is one that servers read
 * differently. The others are groups of policies, read on the path as it is and, `stripped`, on the path
 * without its parameters (`policy/casbin/README.md`, "`;` in a path"). `late`: whom the request would be put to
 * once its token is read; nobody is asked then, but a path whose parameters would spare it is refused.
 */
export type Purpose =
  | 'refuse'
  | 'ambiguous'
  | `${'' | 'stripped '}${'deny' | 'allow' | `ask ${string}`}`
  | `late ${'' | 'stripped '}ask ${string}`

/** A set of requests: those that meet every literal. */
export interface Box {
  readonly purpose: Purpose
  readonly literals: readonly Literal[]
}

/** A workload under one set of manifests. */
export interface Side {
  /** `undefined`: no sidecar, so everything passes. */
  readonly bundle: InboundBundle | undefined
  /** The mesh's own names and its reading of paths, sidecar or not. */
  readonly mesh: Pick<Mesh, 'trustDomain' | 'trustDomainAliases' | 'pathNormalization'>
  /** What external providers answer, by name; those left out are not known. */
  readonly providers: Readonly<Record<string, 'allow' | 'deny'>>
  readonly tokens: TokenView
}

/** Where a request goes and what it is, as `<port>/http` or `<port>/tcp`. */
export type Entry = string

/** The chain that decides an entry on a side; `undefined`: the port does not take it. */
export function chainOf({ bundle }: Side, entry: Entry): Chain | undefined {
  const [port = '', speaks] = entry.split('/')
  const protocol = protocolOf(bundle, Number(port))
  if (protocol === 'tcp' || protocol === 'tls') return 'tcp'
  if (speaks === 'http') return 'http'
  return protocol === 'auto' ? 'tcp' : undefined
}

function protocolOf(bundle: InboundBundle | undefined, port: number): PortProtocol {
  return bundle?.ports.find((one) => one.port === port)?.protocol ?? 'auto'
}

/** The mTLS mode of an entry's port. */
export function modeOf({ bundle }: Side, entry: Entry): MtlsMode {
  const [port] = entry.split('/')
  if (bundle === undefined) return 'DISABLE'
  return bundle.ports.find((one) => String(one.port) === port)?.mtls ?? bundle.mtls
}

/** Everything that decides on one side. */
export function boxesOf(side: Side): readonly Box[] {
  const { bundle } = side
  if (bundle === undefined)
    return [
      { purpose: 'allow', literals: [] },
      { purpose: 'stripped allow', literals: [] },
    ]
  const enforced = bundle.authorization.filter(
    ({ dryRun, action }) => !dryRun && action !== 'AUDIT',
  )
  const chains = (['http', 'tcp'] as const).flatMap((chain) => policyBoxes(side, enforced, chain))
  const ambiguous: Box = { purpose: 'ambiguous', literals: [onChain(side, 'http'), AMBIGUOUS] }
  const onHttp = onChain(side, 'http')
  const refused = refusedTokens(side.tokens).map((literals): Box => {
    return { purpose: 'refuse', literals: [onHttp, ...literals] }
  })
  return [
    ...handshakeBoxes(side),
    ...refused,
    ...(namesPaths(enforced) ? [ambiguous] : []),
    ...chains,
  ]
}

/** Whether a path rule applies, so that `;` in a path matters. */
export function namesPaths(policies: readonly AuthorizationPolicy[]): boolean {
  return policies.some(
    ({ dryRun, action, rules }) =>
      !dryRun &&
      action !== 'AUDIT' &&
      rules.some(({ to = [] }) => to.some(({ paths, notPaths }) => paths ?? notPaths)),
  )
}

const AMBIGUOUS: Literal = {
  attribute: 'path',
  negated: false,
  atoms: [
    {
      phrase: 'has dot segments with parameters',
      meets: (path) => path !== undefined && isAmbiguousPath(path),
    },
  ],
}

/**
 * Requests that some of `rules` describes, as boxes. What a rule asks of HTTP, no TCP connection meets; what it
 * asks of claims, tokens that the side takes.
 *
 * @param ports - only these; left out: every port
 */
export function regionBoxes(
  side: Side,
  rules: readonly Rule[],
  namespace: string,
  ports?: readonly number[],
): readonly Box[] {
  const { trustDomain, trustDomainAliases } = side.mesh
  const policy = { namespace, name: 'assertion', action: 'ALLOW', dryRun: false, rules } as const
  return (['http', 'tcp'] as const).flatMap((chain) => {
    const lines = linesOf(policy, { chain, trustDomains: [trustDomain, ...trustDomainAliases] })
    const here = [onChain(side, chain), ...(ports === undefined ? [] : [onPorts(ports)])]
    const tokens = { ...side.tokens, dropped: new Set<string>() }
    return lines.flatMap((line) =>
      withTokens(alternativesOf(line, chain), tokens).map(
        (literals): Box => ({ purpose: 'allow', literals: [...here, ...literals] }),
      ),
    )
  })
}

function onPorts(ports: readonly number[]): Literal {
  const meets = (entry: string | undefined): boolean => ports.includes(Number(entry?.split('/')[0]))
  return { attribute: 'entry', negated: false, atoms: [{ phrase: 'is to a declared port', meets }] }
}

/** Entries that `chain` decides. */
function onChain(side: Side, chain: Chain): Literal {
  const meets = (entry: string | undefined): boolean =>
    entry !== undefined && chainOf(side, entry) === chain
  const phrase = chain === 'http' ? 'is HTTP' : 'is TCP'
  return { attribute: 'entry', negated: false, atoms: [{ phrase, meets }] }
}

/** What PeerAuthentication and the TLS context refuse (§1.9, §2.4). */
function handshakeBoxes(side: Side): readonly Box[] {
  const { bundle } = side
  const modeIs = (mode: MtlsMode): Literal => ({
    attribute: 'entry',
    negated: false,
    atoms: [
      {
        phrase: `is to a port of mTLS mode ${mode}`,
        meets: (entry) => entry !== undefined && modeOf(side, entry) === mode,
      },
    ],
  })
  const trusted = new Set([bundle?.trustDomain, ...(bundle?.trustDomainAliases ?? [])])
  const peer = (phrase: string, meets: Atom['meets'], name = phrase): Literal => ({
    attribute: 'peer',
    negated: false,
    atoms: [{ phrase, name, meets }],
  })
  const refuse = (...literals: readonly Literal[]): Box => ({ purpose: 'refuse', literals })
  return [
    refuse(
      modeIs('STRICT'),
      peer('presents no certificate', (id) => id === undefined),
    ),
    refuse(
      modeIs('DISABLE'),
      peer('presents a certificate', (id) => id !== undefined),
    ),
    refuse(
      peer(
        'is of a foreign trust domain',
        (id) => id !== undefined && !trusted.has(trustDomainOf(parseSpiffeId(id))),
        `is of none of ${[...trusted].map(String).toSorted().join()}`,
      ),
    ),
  ]
}

function policyBoxes(
  side: Side,
  enforced: readonly AuthorizationPolicy[],
  chain: Chain,
): readonly Box[] {
  const { bundle, providers } = side
  if (bundle === undefined) return []
  const trustDomains = [bundle.trustDomain, ...bundle.trustDomainAliases]
  const here = onChain(side, chain)
  return groupPolicies(enforced, { chain, trustDomains }).flatMap((group) => {
    const kind = bundle.providers[group.provider]?.kind
    const answer =
      group.action !== 'CUSTOM'
        ? undefined
        : kind === undefined
          ? 'deny'
          : answerOf(providers, group.provider)
    // A provider of HTTP alone is not asked about TCP (§1.11).
    if (answer === 'allow' || (kind === 'http' && chain === 'tcp')) return []
    const word = group.action === 'ALLOW' ? 'allow' : 'deny'
    const asks = group.action === 'CUSTOM' && answer === undefined
    const purpose = asks ? (`ask ${group.provider}` as const) : word
    const views = viewsOf(side.tokens, group.action, answer !== 'deny' || kind === undefined)
    return group.lines.flatMap((line) => {
      const alternatives = alternativesOf(line, chain)
      return views.flatMap((view) =>
        withTokens(alternatives, view).flatMap((literals): readonly Box[] => {
          const late = asks && view !== undefined
          const stripped = literals.map(onStrippedPath)
          return [
            {
              purpose: late ? `late ask ${group.provider}` : purpose,
              literals: [here, ...literals],
            },
            {
              purpose: late ? `late stripped ask ${group.provider}` : `stripped ${purpose}`,
              literals: [here, ...stripped],
            },
          ]
        }),
      )
    })
  })
}

function answerOf(providers: Side['providers'], name: string): 'allow' | 'deny' | undefined {
  return Object.hasOwn(providers, name) ? providers[name] : undefined
}

/** What a line asks, as alternatives. @throws {PolicyError} `POLICY_LIMIT` */
export function alternativesOf(line: PolicyLine, chain: Chain): Alternatives {
  const from = line.from === ANY ? {} : (JSON.parse(line.from) as Source)
  const to = line.to === ANY ? [{}] : (JSON.parse(line.to) as readonly Operation[])
  const when = line.when === ANY ? [] : (JSON.parse(line.when) as readonly Condition[])
  const all = allOf([
    readFields(from, chain),
    to.flatMap((operation) => readFields(operation, chain)),
    ...when.map((condition) => readCondition(condition, chain)),
  ])
  if (all.length <= MAX_ALTERNATIVES) return all
  const what = `Cannot compare rule ${line.rule} of ${line.policy}`
  const why = `it has ${all.length} alternatives, at most ${MAX_ALTERNATIVES} are compared`
  throw new PolicyError('POLICY_LIMIT', `${what}: ${why}`)
}

function onStrippedPath(literal: Literal): Literal {
  if (literal.attribute !== 'path') return literal
  const atoms = literal.atoms.map((atom) => ({
    ...atom,
    strippedOf: atom,
    meets: (path: string | undefined) =>
      atom.meets(path === undefined ? undefined : withoutPathParameters(path)),
  }))
  return { ...literal, atoms }
}
