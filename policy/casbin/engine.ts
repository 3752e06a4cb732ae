import type { TrustDomain } from '#ca/spiffe/index.ts'
import { LRUCache } from 'lru-cache'
import {
  type AuthorizationPolicy,
  type Connection,
  type Decision,
  decisionWithParameters,
  type Engine,
  type ExtensionProvider,
  type HttpAttributes,
  isAmbiguousPath,
  withoutPathParameters,
} from '../model/index.ts'
import { admitPolicy } from './admit-policy.ts'
import { type CacheKey, compileCacheKey } from './cache-key.ts'
import { compileColumns } from './columns.ts'
import { type CompileMemory, recalledLines } from './compile-memory.ts'
import { AMBIGUOUS, type Answers, decide, FAULT } from './decide.ts'
import { createEnforcers } from './enforcer.ts'
import { groupPolicies } from './groups.ts'
import type { Chain } from './lines.ts'
import type { Attempt } from './constraint.ts'
import { narrow, prepareLine } from './narrow.ts'
import { createFinder } from './path-index.ts'

/** What an engine is compiled from. */
export interface AuthorizationInput {
  /** Those that apply to the workload, dry-run ones too, in any order. */
  readonly policies: readonly AuthorizationPolicy[]
  readonly trustDomain: TrustDomain
  readonly trustDomainAliases: readonly TrustDomain[]
  /**
   * Extension providers that exist, by name. A CUSTOM policy of another one denies what it matches; of
   * one that answers for HTTP alone it does not apply to TCP (§1.11).
   * @default every provider named is taken to exist, and whoever gets `ask` finds out
   */
  readonly providers?: Readonly<Record<string, Pick<ExtensionProvider, 'kind'>>>
}

/** Seams for tests and measurements; no configuration reaches them. */
export interface EngineOptions {
  /** Stands in for the matcher of every model. @default what `*.conf` say */
  readonly matcher?: string
  /** Decisions remembered, least recently used go first; 0: none. @default 4096 */
  readonly cacheEntries?: number
  /** What the generation before compiled. @default nothing */
  readonly memory?: CompileMemory
}

/** Characters beyond which a key is not worth remembering: 4096 of them bound the cache at some 4 MB. */
const MAX_KEY_LENGTH = 1024
const MAX_NARROWED = 256

/**
 * Compiles policies into the engine that Casbin answers for. Slow, so that its result is fast: call
 * it once for each generation of configuration.
 *
 * @throws {PolicyError} `POLICY_RULE_INVALID` for a policy with a field or key that has no meaning here
 */
export function compileAuthorization(
  input: AuthorizationInput,
  options: EngineOptions = {},
): Engine {
  const { cacheEntries = 4096 } = options
  for (const policy of input.policies) admitPolicy(policy)
  const cache = cacheEntries > 0 ? new LRUCache<string, Decision>({ max: cacheEntries }) : undefined
  const http = compileChain('http', input, options)
  const pathRules = namesPaths(input.policies)
  let tcp: Narrow | undefined
  return (connection) => {
    let onHttp: NarrowedChain | undefined
    return (request) => {
      const attempt = { connection, http: request }
      try {
        if (request !== undefined) {
          onHttp ??= http(connection)
          return pathRules && request.path.includes(';')
            ? decideParameters(onHttp, attempt, request, cache)
            : decideCached(onHttp, attempt, cache)
        }
        tcp ??= compileChain('tcp', input, options)
        return decideCached(tcp(connection), attempt, cache)
      } catch {
        // A matcher that cannot answer is no permission; what it could not answer is unknown here.
        return FAULT
      }
    }
  }
}

/** Groups narrowed to what some connections may match, with the enforcers that answer for them. */
interface NarrowedChain {
  /** Starts each of its cache keys. */
  readonly id: number
  readonly key: CacheKey
  readonly answers: Answers
}

type Narrow = (connection: Connection) => NarrowedChain

function compileChain(
  chain: Chain,
  input: AuthorizationInput,
  { matcher, memory }: EngineOptions,
): Narrow {
  const trustDomains = [input.trustDomain, ...input.trustDomainAliases]
  const { providers } = input
  const context = { chain, trustDomains }
  const generation = memory?.begin(context)
  const policies =
    chain === 'http'
      ? input.policies
      : input.policies.filter(
          ({ provider }) => provider === undefined || providers?.[provider]?.kind !== 'http',
        )
  const groups = groupPolicies(policies, context, generation && recalledLines(generation.recall))
  const columns = compileColumns(
    groups.flatMap(({ lines }) => lines),
    generation?.recall,
  )
  const prepared = groups.map(({ lines }) =>
    lines.map((line) => prepareLine(line, columns.tests(line))),
  )
  generation?.end()
  const createEnforcer = createEnforcers(columns.functions, matcher)
  const known = new LRUCache<string, NarrowedChain>({ max: MAX_NARROWED })
  const isKnown = (provider: string) =>
    providers === undefined || Object.hasOwn(providers, provider)
  let ids = 0
  return (connection) => {
    const narrowed = prepared.map((lines) => narrow(lines, connection))
    const signature = narrowed.map((one) => one.signature).join(';')
    const same = known.get(signature)
    if (same !== undefined) return same
    ids += 1
    const found: NarrowedChain = {
      id: chain === 'http' ? ids : -ids,
      key: compileCacheKey(narrowed.flatMap(({ reads }) => reads)),
      answers: {
        isKnown,
        groups: groups.map((group, at) => ({
          group,
          find: createFinder(narrowed[at]?.lines ?? [], (lines) =>
            createEnforcer(group.action, lines),
          ),
        })),
      },
    }
    known.set(signature, found)
    return found
  }
}

/**
 * Decides a path with parameters (`;…`) where a path rule applies. Servers differ on whether they are
 * part of the name, so it is refused when dot segments carry them, and when leaving them out would be
 * decided more strictly: `DENY /admin` is not evaded by `/admin;x` (CVE-2026-73553).
 */
function decideParameters(
  chain: NarrowedChain,
  attempt: Attempt,
  http: HttpAttributes,
  cache: DecisionCache | undefined,
): Decision {
  if (isAmbiguousPath(http.path)) return AMBIGUOUS
  const decision = decideCached(chain, attempt, cache)
  const path = withoutPathParameters(http.path)
  const other = decideCached(chain, { ...attempt, http: withPath(http, path) }, cache)
  return decisionWithParameters(decision, other, AMBIGUOUS)
}

/** Not by spreading: attributes may be getters of a class. */
function withPath(http: HttpAttributes, path: string): HttpAttributes {
  const { method, host, remoteIp, claims } = http
  return { method, path, host, remoteIp, claims, header: (name) => http.header(name) }
}

/** Whether an enforced policy has a path rule. */
function namesPaths(policies: readonly AuthorizationPolicy[]): boolean {
  return policies.some(
    ({ action, dryRun, rules }) =>
      !dryRun &&
      action !== 'AUDIT' &&
      rules.some(({ to = [] }) =>
        to.some(({ paths, notPaths }) => paths !== undefined || notPaths !== undefined),
      ),
  )
}

type DecisionCache = LRUCache<string, Decision>

function decideCached(
  chain: NarrowedChain,
  attempt: Attempt,
  cache: DecisionCache | undefined,
): Decision {
  if (cache === undefined) return decide(chain.answers, attempt)
  const key = `${chain.id}|${chain.key(attempt)}`
  const remembered = cache.get(key)
  if (remembered !== undefined) return remembered
  const decision = decide(chain.answers, attempt)
  if (key.length <= MAX_KEY_LENGTH) cache.set(key, decision)
  return decision
}
