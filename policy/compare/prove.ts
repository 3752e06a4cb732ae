/** Whether assertions hold of every request that can be; where one does not, a request that shows it. */
import type { CheckQuery, CheckResult } from '../check/index.ts'
import type { Assertion } from '../dialects/redoubt/assertions.ts'
import { suggest } from '../dialects/suggest.ts'
import { PolicyError } from '../error.ts'
import type { Intent, Workload } from '../model/index.ts'
import { createArena } from './arena.ts'
import { bundleOf, providersOf } from './change.ts'
import { type Confirm, createConfirm } from './confirm.ts'
import { type Cube, cubesOf } from './cubes.ts'
import { divide, type Rated } from './diagram.ts'
import { createPurposes, extraBits, type Failing, judgeAssertion } from './judge.ts'
import { regionBoxes, type Side } from './side.ts'
import type { Dimension } from './space.ts'
import { headersOfTokens, type TokenKind, tokenKinds, tokenView } from './tokens.ts'
import { type Witness, witnessOf } from './witness.ts'
import { clausesOf } from './words.ts'

/** What became of one assertion. */
export interface Proof {
  readonly name: string
  readonly kind: Assertion['kind']
  readonly line: number
  /** `unknown`: an external provider or a header that tokens fill decides, or there is no workload that it is about. */
  readonly verdict: 'true' | 'false' | 'unknown'
  /** `namespace/name` of those that it is about. */
  readonly workloads: readonly string[]
  /** Why not `true`; left out when there is no such workload, or a `reason`. */
  readonly counterexample?: Counterexample
  /** Why it cannot be told, where no request shows it. */
  readonly reason?: string
}

/** A request that is decided otherwise than an assertion says. */
export interface Counterexample {
  readonly workload: string
  /** What it and its like have in common. */
  readonly when: readonly string[]
  readonly witness: CheckQuery
  /** The kind of token that it carries: of a signed one the witness has the claims. Left out: none. */
  readonly token?: TokenKind
  readonly result: CheckResult
}

/** How to prove. */
export interface ProveOptions {
  /** What external providers answer, by name. */
  readonly providers?: Readonly<Record<string, 'allow' | 'deny'>>
}

/**
 * Decides each assertion over every request that can be.
 *
 * A request that HTTP answers 400 because servers read its path differently is no counterexample to `always`.
 * `always` is about declared ports; `never` and `only` about every port.
 *
 * @throws {PolicyError} `POLICY_LIMIT`
 */
export function proveAssertions(
  intent: Intent,
  assertions: readonly Assertion[],
  { providers = {} }: ProveOptions = {},
): readonly Proof[] {
  const plain = createConfirm(intent)
  const confirm: Confirm = (query, token) => plain({ ...query, providers }, token)
  return assertions.map((assertion) => {
    const { name, kind, line } = assertion
    const concerned = intent.workloads.filter((one) => isAbout(assertion, one))
    const workloads = concerned.map((one) => `${one.namespace}/${one.name}`)
    const failures = concerned.flatMap((workload) => {
      return failureOf(intent, workload, assertion, providers, confirm) ?? []
    })
    const worst = failures.find(({ verdict }) => verdict === 'false') ?? failures[0]
    const isNobody = concerned.length === 0
    const verdict = worst?.verdict ?? (isNobody ? 'unknown' : 'true')
    const { counterexample, reason } =
      worst ?? (isNobody ? { reason: noWorkload(assertion, intent) } : {})
    const shown = { ...(counterexample && { counterexample }), ...(reason && { reason }) }
    return { name, kind, line, verdict, workloads, ...shown }
  })
}

function noWorkload({ workload }: Assertion, { workloads }: Intent): string {
  const known = workloads.map(({ namespace, name }) => `${namespace}/${name}`)
  const meant = suggest(workload, known)
  return `there is no workload ${workload}${meant === undefined ? '' : `; did you mean ${meant}?`}`
}

function isAbout({ workload }: Assertion, { namespace, name }: Workload): boolean {
  const [wantedNamespace = '', wantedName = ''] = workload.split('/')
  return [namespace, '*'].includes(wantedNamespace) && [name, '*'].includes(wantedName)
}

const FAILING: Readonly<Record<Assertion['kind'], Failing>> = {
  never: (verdict, isIn) => (isIn ? unlessDenied(verdict) : undefined),
  only: (verdict, isIn) => (isIn ? undefined : unlessDenied(verdict)),
  always: (verdict, isIn) => {
    if (!isIn || verdict === 'allow' || verdict === 'ambiguous') return undefined
    return verdict === 'deny' ? 'false' : 'unknown'
  },
}

function unlessDenied(verdict: Parameters<Failing>[0]): ReturnType<Failing> {
  if (verdict === 'deny' || verdict === 'ambiguous') return undefined
  return verdict === 'allow' ? 'false' : 'unknown'
}

/** Classes looked through for one that is false and not merely unknown. */
const MAX_LOOKED_AT = 10_000

interface Failure {
  readonly verdict: 'false' | 'unknown'
  readonly counterexample?: Counterexample
  readonly reason?: string
}

function failureOf(
  intent: Intent,
  workload: Workload,
  { kind, rules, name }: Assertion,
  providers: Side['providers'],
  confirm: Confirm,
): Failure | undefined {
  const bundle = bundleOf(intent, workload, providers)
  const tokens = tokenKinds([bundle])
  const side: Side = {
    bundle,
    providers,
    mesh: intent.mesh,
    tokens: tokenView(bundle, tokens),
  }
  const ports = kind === 'always' ? workload.ports.map(({ port }) => port) : undefined
  const region = regionBoxes(side, rules, workload.namespace, ports)
  const { boxes, impossible, space } = createArena([side], region, tokens)
  const purposes = createPurposes(providersOf([bundle]))
  const bits = extraBits(purposes, 1)
  const rated: readonly Rated[] = [
    ...(boxes[0] ?? []).map((box) => ({ box, purpose: purposes.bit(box.purpose) })),
    ...impossible.map((box) => ({ box, purpose: bits.impossible })),
    ...region.map((box) => ({ box, purpose: bits.region })),
  ]
  const cube = worstCube(cubesOf(divide(space, rated, judgeAssertion(purposes, FAILING[kind]))))
  const witness = cube && witnessOf(space, cube, workload, tokens)
  const shown = cube && witness && shownBy(space, cube, workload, { kind, name, confirm, witness })
  // Of requests without a token all is known.
  if (shown?.verdict === 'false' && shown.counterexample?.token === undefined) return shown
  const [filled] = headersOfTokens(bundle)
  return filled === undefined ? shown : unknownBy(filled, workload)
}

function unknownBy(header: string, { namespace, name }: Workload): Failure {
  const reason = `at ${namespace}/${name} policies read the header ${header}, which tokens fill`
  return { verdict: 'unknown', reason }
}

function worstCube(cubes: Iterable<Cube>): Cube | undefined {
  let found: Cube | undefined
  let looked = 0
  for (const cube of cubes) {
    found ??= cube
    if (cube.verdict === 'false') return cube
    looked += 1
    if (looked >= MAX_LOOKED_AT) break
  }
  return found
}

function shownBy(
  space: readonly Dimension[],
  cube: Cube,
  workload: Workload,
  {
    kind,
    name,
    confirm,
    witness: { query, token },
  }: Pick<Assertion, 'kind' | 'name'> & { readonly confirm: Confirm; readonly witness: Witness },
): Failure {
  const { verdict: said, result } = confirm(query, token ?? 'none')
  const verdict = FAILING[kind](said, kind !== 'only')
  if (verdict === undefined || verdict !== cube.verdict) {
    throw new PolicyError(
      'POLICY_UNCONFIRMED',
      `Cannot confirm a counterexample to ${JSON.stringify(name)}: the plain evaluator says ${said} of ${JSON.stringify(query)}`,
    )
  }
  const key = `${workload.namespace}/${workload.name}`
  const when = clausesOf(space, cube)
  const shown = { workload: key, when, witness: query, result }
  return { verdict, counterexample: token === undefined ? shown : { ...shown, token } }
}
