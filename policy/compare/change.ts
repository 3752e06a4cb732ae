/** Which requests two sets of manifests decide differently: all of them, by classes, each with an example. */
import { assembleInbound } from '../assemble/inbound.ts'
import { withAssumedProviders } from '../assemble/providers.ts'
import type { CheckQuery, CheckResult } from '../check/index.ts'
import { PolicyError } from '../error.ts'
import type { InboundBundle, Intent, PathNormalization, Workload } from '../model/index.ts'
import { createArena } from './arena.ts'
import { type Confirmation, createConfirm } from './confirm.ts'
import { countCubes, type Cube, cubesOf } from './cubes.ts'
import { divide, type Rated } from './diagram.ts'
import type { Node } from './node.ts'
import { createPurposes, extraBits, judgeChange, plainVerdict, type Verdict } from './judge.ts'
import type { Side } from './side.ts'
import type { Dimension } from './space.ts'
import {
  headersOfTokens,
  issuersWithOtherKeys,
  keyNameOf,
  type TokenKind,
  tokenKinds,
  tokenView,
} from './tokens.ts'
import { type Witness, witnessOf } from './witness.ts'
import { clausesOf } from './words.ts'

/** `unknown`: an external provider decides. */
export type Outcome = 'allow' | 'deny' | 'unknown'

/** Requests whose decision changes in one way. */
export interface Change {
  readonly before: Outcome
  readonly after: Outcome
  /** With `unknown`: the providers that decide. */
  readonly providers: readonly string[]
  /** What they have in common, as sentences; none: every request. */
  readonly when: readonly string[]
  /** One of them, and what the plain evaluator answers under each set. */
  readonly witness: CheckQuery
  /** The kind of token that it carries: of a signed one the witness has the claims. Left out: none. */
  readonly token?: TokenKind
  readonly results: { readonly before: CheckResult; readonly after: CheckResult }
}

/** What changes at one or several workloads that are guarded alike. */
export interface Comparison {
  /** `namespace/name` of each. */
  readonly workloads: readonly string[]
  /** `added` and `removed` workloads have nothing to be compared with. */
  readonly kind: 'compared' | 'added' | 'removed'
  readonly changes: readonly Change[]
  /** Classes of requests that change, told or not. */
  readonly total: number
  /** What could not be compared exactly, and why. */
  readonly notes: readonly string[]
  readonly diagram?: Diagram
}

/** A comparison's result as a whole, for whoever has requests to hold against it. */
export interface Diagram {
  readonly space: readonly Dimension[]
  readonly root: Node
  /** How the paths of its space are to be read. */
  readonly pathNormalization: PathNormalization
}

/** How to compare. */
export interface CompareOptions {
  /** `namespace/name`; left out: every workload of either set. */
  readonly workload?: string
  /** What external providers answer, by name. */
  readonly providers?: Readonly<Record<string, 'allow' | 'deny'>>
  /** Classes told for a workload. @default 50 */
  readonly limit?: number
}

/**
 * Compares two sets of manifests over every request that can be.
 *
 * @throws {PolicyError} `POLICY_LIMIT`
 */
export function compareIntents(
  before: Intent,
  after: Intent,
  options: CompareOptions = {},
): readonly Comparison[] {
  const { workload: wanted } = options
  const pairs = pairWorkloads(before, after).filter(
    ({ key }) => wanted === undefined || key === wanted,
  )
  const compared = new Map<string, Comparison>()
  for (const pair of pairs) {
    const sides = [before, after].map((intent, at) =>
      bundleOf(intent, at === 0 ? pair.old : pair.new, options.providers),
    )
    const kind = pair.old === undefined ? 'added' : pair.new === undefined ? 'removed' : 'compared'
    const likeness = JSON.stringify([kind, ...sides.map(withoutWorkload)])
    const same = compared.get(likeness)
    const workloads = [...(same?.workloads ?? []), pair.key]
    const fresh = (): Comparison =>
      kind === 'compared'
        ? compareSides([before, after], sides, pair.key, options)
        : { workloads, kind, changes: [], total: 0, notes: [] }
    compared.set(likeness, { ...(same ?? fresh()), workloads })
  }
  return [...compared.values()]
}

interface Pair {
  readonly key: string
  readonly old: Workload | undefined
  readonly new: Workload | undefined
}

function pairWorkloads(before: Intent, after: Intent): readonly Pair[] {
  const byKey = ({ workloads }: Intent) =>
    new Map(workloads.map((one) => [`${one.namespace}/${one.name}`, one]))
  const [old, current] = [byKey(before), byKey(after)]
  return [...new Set([...old.keys(), ...current.keys()])]
    .sort()
    .map((key) => ({ key, old: old.get(key), new: current.get(key) }))
}

/** What guards a workload; `undefined` without a sidecar. */
export function bundleOf(
  intent: Intent,
  workload: Workload | undefined,
  providers: CompareOptions['providers'] = {},
): InboundBundle | undefined {
  if (workload?.sidecar !== true) return undefined
  const ports = workload.ports.map((port) => ({ ...port, address: '' }))
  const bundle = assembleInbound(intent, { ...workload, ports }, keyNameOf)
  return withAssumedProviders(intent, bundle, Object.keys(providers))
}

function withoutWorkload(bundle: InboundBundle | undefined): unknown {
  return bundle && { ...bundle, workload: null }
}

function compareSides(
  intents: readonly [Intent, Intent],
  bundles: readonly (InboundBundle | undefined)[],
  key: string,
  { providers = {}, limit = 50 }: CompareOptions,
): Comparison {
  const tokens = tokenKinds(bundles)
  const sides = bundles.map((bundle, at): Side => {
    const { mesh } = at === 0 ? intents[0] : intents[1]
    return { bundle, providers, mesh, tokens: tokenView(bundle, tokens) }
  })
  const arena = createArena(sides, [], tokens)
  const purposes = createPurposes(providersOf(bundles))
  const { impossible } = extraBits(purposes, 2)
  const rated = [
    ...arena.boxes.flatMap((boxes, side) =>
      boxes.map((box): Rated => {
        return { box, purpose: purposes.bit(box.purpose) << (purposes.width * BigInt(side)) }
      }),
    ),
    ...arena.impossible.map((box): Rated => ({ box, purpose: impossible })),
  ]
  const root = divide(arena.space, rated, judgeChange(purposes))
  const { pathNormalization } = intents[0].mesh
  const diagram = { space: arena.space, root, pathNormalization }
  const confirms = intents.map(createConfirm)
  const changes: Change[] = []
  for (const cube of cubesOf(root)) {
    if (changes.length >= limit) break
    const witness = witnessOf(arena.space, cube, splitKey(key), tokens)
    const confirmed = confirms.map((confirm) => {
      return confirm({ ...witness.query, providers }, witness.token ?? 'none')
    })
    changes.push(changeOf(arena.space, cube, witness, confirmed))
  }
  const order: readonly Outcome[] = ['allow', 'deny', 'unknown']
  changes.sort((a, b) => order.indexOf(a.before) - order.indexOf(b.before))
  const total = Number(countCubes(root))
  const notes = notesOf(bundles, arena.space, tokens)
  return { workloads: [key], kind: 'compared', changes, total, notes, diagram }
}

function splitKey(key: string): { readonly namespace: string; readonly name: string } {
  const [namespace = '', name = ''] = key.split('/')
  return { namespace, name }
}

function notesOf(
  bundles: readonly (InboundBundle | undefined)[],
  space: readonly Dimension[],
  tokens: readonly TokenKind[],
): readonly string[] {
  const [before, after] = bundles
  if (before === undefined || after === undefined) return []
  const [old, current] = [before.pathNormalization, after.pathNormalization]
  const read = space.map(({ attribute }) => attribute)
  const shared = tokens.flatMap(({ place }) => (place.in === 'header' ? [place.name] : []))
  return [
    ...(old === current
      ? []
      : [
          `path normalisation changes from ${old} to ${current}: paths that the two read differently are not compared`,
        ]),
    ...issuersWithOtherKeys(bundles).map(
      (issuer) =>
        `the keys of ${issuer || 'any issuer'} change: a token of it is taken as signed by keys of both`,
    ),
    ...[...new Set(bundles.flatMap(headersOfTokens))].map(
      (name) =>
        `policies read the header ${name}, which tokens fill: requests with a token are compared as if it were absent`,
    ),
    ...[...new Set(shared)]
      .filter((name) => read.includes(`header:${name}`))
      .map((name) => `policies read the header ${name}, where tokens stand: taken as independent`),
  ]
}

/** Every external provider that some policy asks. */
export function providersOf(bundles: readonly (InboundBundle | undefined)[]): readonly string[] {
  const policies = bundles.flatMap((bundle) => bundle?.authorization ?? [])
  return [...new Set(policies.flatMap(({ provider }) => provider ?? []))].sort()
}

function changeOf(
  space: readonly Dimension[],
  cube: Cube,
  { query, token }: Witness,
  [before, after]: readonly Confirmation[],
): Change {
  const said = [before, after].map((one) => (one === undefined ? '' : plainVerdict(one.verdict)))
  if (before === undefined || after === undefined || said.join(' → ') !== cube.verdict) {
    const asked = JSON.stringify(query)
    throw new PolicyError(
      'POLICY_UNCONFIRMED',
      `Cannot confirm an example of ${cube.verdict}: the plain evaluator says ${said.join(' → ')} of ${asked}`,
    )
  }
  const providers = said.flatMap((verdict) =>
    verdict.startsWith('ask ') ? verdict.slice(4).split(',') : [],
  )
  return {
    before: outcomeOf(before.verdict),
    after: outcomeOf(after.verdict),
    providers: [...new Set(providers)],
    when: clausesOf(space, cube),
    witness: query,
    ...(token === undefined ? {} : { token }),
    results: { before: before.result, after: after.result },
  }
}

/** A verdict as people read it. */
export function outcomeOf(verdict: Verdict): Outcome {
  const plain = plainVerdict(verdict)
  return plain === 'allow' || plain === 'deny' ? plain : 'unknown'
}
