/** What the boxes of a side come to: the order of actions (§1.3), with what is not known yet left open. */
import type { Judge } from './diagram.ts'
import type { Purpose } from './side.ts'

/**
 * `allow`, `deny`, or `ask a,b`: these providers decide. `ambiguous` is a denial too, of a path that
 * servers read differently (400).
 */
export type Verdict = 'allow' | 'deny' | 'ambiguous' | `ask ${string}`

/** A side's purposes as bits, the same for both sides of a comparison. */
export interface Purposes {
  readonly bit: (purpose: Purpose) => bigint
  /** Bits that a side has: the other side's begin there. */
  readonly width: bigint
  readonly judge: SideJudge
}

type SideJudge = (
  matched: bigint,
  possible: bigint,
) =>
  | { readonly done: true; readonly verdict: Verdict }
  | { readonly done: false; readonly matters: bigint }

const FIXED: readonly Purpose[] = [
  'refuse',
  'ambiguous',
  'deny',
  'allow',
  'stripped deny',
  'stripped allow',
]

/** Whether a provider is asked about the path as it is, and about the one without its parameters. */
type Pair = readonly [plain: Purpose, stripped: Purpose]

/** @param providers - every provider that a policy of either side asks */
export function createPurposes(providers: readonly string[]): Purposes {
  const pairs = providers.flatMap((name): readonly Pair[] => [
    [`ask ${name}`, `stripped ask ${name}`],
    [`late ask ${name}`, `late stripped ask ${name}`],
  ])
  const order = [...FIXED, ...pairs.flat()]
  const bits = new Map(order.map((purpose, at) => [purpose, 1n << BigInt(at)]))
  const bit = (purpose: Purpose): bigint => bits.get(purpose) ?? 0n
  const width = BigInt(order.length)
  const all = (1n << width) - 1n
  const open = { done: false, matters: all } as const
  const done = (verdict: Verdict) => ({ done: true, verdict }) as const
  const judge: SideJudge = (matched, possible) => {
    const has = (purposes: bigint): boolean => (matched & purposes) !== 0n
    const may = (purposes: bigint): boolean => (possible & purposes) !== 0n
    if (has(bit('refuse'))) return done('deny')
    if (may(bit('refuse') | bit('ambiguous'))) return open
    if (has(bit('ambiguous'))) return done('ambiguous')
    if (has(bit('deny'))) return done('deny')
    if (!has(bit('allow')) && !may(bit('allow'))) return done('deny')
    if (possible !== 0n) return open
    // From here all is known, and the path as it is would be let through or put to a provider.
    const asked = providers.filter((name) => has(bit(`ask ${name}`)))
    const isUnasked = ([plain, stripped]: Pair): boolean => has(bit(stripped)) && !has(bit(plain))
    if (pairs.some(isUnasked)) return done('ambiguous')
    if (has(bit('stripped deny')) || !has(bit('stripped allow'))) return done('ambiguous')
    return done(asked.length === 0 ? 'allow' : `ask ${asked.join()}`)
  }
  return { bit, width, judge }
}

/** For people and for comparisons, a denial is a denial. */
export function plainVerdict(verdict: Verdict): Exclude<Verdict, 'ambiguous'> {
  return verdict === 'ambiguous' ? 'deny' : verdict
}

/** Bits beyond both sides. */
export interface Extra {
  /** Requests that cannot be. */
  readonly impossible: bigint
  /** Requests that an assertion is about. */
  readonly region: bigint
}

/** The bits after `sides` sides. */
export function extraBits({ width }: Purposes, sides: number): Extra {
  const impossible = 1n << (width * BigInt(sides))
  return { impossible, region: impossible << 1n }
}

/** Tells what changes: verdicts are `before → after`. */
export function judgeChange(purposes: Purposes): Judge {
  const { width, judge } = purposes
  const { impossible } = extraBits(purposes, 2)
  const own = (1n << width) - 1n
  const halves = (bits: bigint): readonly [bigint, bigint] => [bits & own, (bits >> width) & own]
  const isEven = (bits: bigint): boolean => {
    const [left, right] = halves(bits)
    return left === right
  }
  return (matched, possible, live) => {
    const nothing = { done: true, verdict: undefined } as const
    if ((matched & impossible) !== 0n) return nothing
    // What is left stands for the same on both sides.
    if (isEven(matched) && live.every(isEven)) return nothing
    const [matchedBefore, matchedAfter] = halves(matched)
    const [possibleBefore, possibleAfter] = halves(possible)
    const before = judge(matchedBefore, possibleBefore)
    const after = judge(matchedAfter, possibleAfter)
    if (before.done && after.done) {
      const [was, is] = [plainVerdict(before.verdict), plainVerdict(after.verdict)]
      if (was === is) return nothing
      if ((possible & impossible) === 0n) return { done: true, verdict: `${was} → ${is}` }
    }
    const mattersBefore = before.done ? 0n : before.matters
    const mattersAfter = after.done ? 0n : after.matters
    return { done: false, matters: mattersBefore | (mattersAfter << width) | impossible }
  }
}

/** How an assertion fails: `false` where a request is decided otherwise, `unknown` where a provider decides. */
export type Failing = (verdict: Verdict, inRegion: boolean) => 'false' | 'unknown' | undefined

/** Tells where an assertion fails. */
export function judgeAssertion(purposes: Purposes, failing: Failing): Judge {
  const { width, judge } = purposes
  const { impossible, region } = extraBits(purposes, 1)
  const own = (1n << width) - 1n
  return (matched, possible) => {
    const nothing = { done: true, verdict: undefined } as const
    if ((matched & impossible) !== 0n) return nothing
    const mayLeave = (possible & region) !== 0n
    const isIn = (matched & region) !== 0n
    const places = mayLeave && !isIn ? [false, true] : [isIn]
    const verdicts: readonly Verdict[] = ['allow', 'deny', 'ask ']
    if (places.every((place) => verdicts.every((one) => failing(one, place) === undefined))) {
      return nothing
    }
    const side = judge(matched & own, possible & own)
    const rest = possible & (impossible | (isIn ? 0n : region))
    if (!side.done) return { done: false, matters: side.matters | impossible | region }
    const outcomes = places.map((place) => failing(side.verdict, place))
    if (outcomes.every((outcome) => outcome === undefined)) return nothing
    if (rest !== 0n) return { done: false, matters: impossible | region }
    return { done: true, verdict: outcomes[0] }
  }
}
