/** Sets of classes in words. */
import type { Cube } from './cubes.ts'
import type { Dimension, Word } from './space.ts'

/** What requests of a cube have in common, a clause an attribute that matters. */
export function clausesOf(space: readonly Dimension[], cube: Cube): readonly string[] {
  return space.flatMap((dimension, at) => {
    const subject = subjectOf(dimension)
    const classes = cube.classes.get(at)
    const lines = cube.lines.get(at)
    if (classes !== undefined) return [`${subject} ${describe(dimension, classes)}`]
    if (lines === undefined) return []
    const present = [...lines].filter(([, there]) => there).map(([member]) => member)
    const absent = [...lines].filter(([, there]) => !there).map(([member]) => member)
    return [
      ...present.map((member) => `${subject} has a value that ${describe(dimension, [member])}`),
      ...(absent.length === 0
        ? []
        : [`${subject} has no value that ${describe(dimension, absent)}`]),
    ]
  })
}

const SUBJECTS: Readonly<Record<string, string>> = {
  entry: 'the request',
  peer: 'the caller',
  token: 'the request',
  method: 'the method',
  path: 'the path',
  host: 'the host',
  sni: 'the SNI',
  remoteIp: 'the client address',
  sourceIp: 'the source address',
  destinationIp: 'the destination address',
}

function subjectOf({ attribute }: Dimension): string {
  const known = SUBJECTS[attribute]
  if (known !== undefined) return known
  const [kind = '', ...rest] = attribute.split(':')
  const name = rest.join(':')
  return kind === 'claim'
    ? `the claim ${(JSON.parse(name) as string[]).join('.')}`
    : `header ${name}`
}

/** Beyond so many words a set is shown by examples. */
const MAX_WORDS = 12

function describe(dimension: Dimension, classes: readonly number[]): string {
  const { values } = dimension
  const { among, target } = visible(dimension, classes)
  const words = dimension
    .words()
    .map((word) => ({ ...word, members: new Set([...word.members].filter((n) => among.has(n))) }))
    .filter(({ members }) => members.size > 0)
  const positive = cover(words, target)
  if (positive !== undefined && positive.length <= 3) return either(positive)
  const holding = words
    .filter(({ members }) => members.size < among.size && isWithin(target, members))
    .sort((a, b) => a.members.size - b.members.size)
    .slice(0, 1)
  const frame = holding[0]?.members ?? among
  const outside = new Set([...frame].filter((n) => !target.has(n)))
  const inFrame = words.map((word) => {
    return { ...word, members: new Set([...word.members].filter((n) => frame.has(n))) }
  })
  const negative = outside.size === 0 ? [] : cover(inFrame, outside)
  if (negative !== undefined && negative.length <= (positive?.length ?? MAX_WORDS)) {
    return [...holding.map(({ phrase }) => phrase), ...neither(negative)].join(' and ')
  }
  if (positive !== undefined) return either(positive)
  const examples = classes.slice(0, 3).map((n) => JSON.stringify(values[n] ?? 'nothing'))
  const more = classes.length > 3 ? ` and ${classes.length - 3} other kinds` : ''
  return `is like ${examples.join(', ')}${more}`
}

/** Of paths those without parameters, if there are any: the others follow them. */
function visible(
  { attribute, values }: Dimension,
  classes: readonly number[],
): { readonly among: ReadonlySet<number>; readonly target: ReadonlySet<number> } {
  const isPlain = (n: number): boolean => attribute !== 'path' || !(values[n] ?? '').includes(';')
  const plain = classes.filter(isPlain)
  return plain.length === 0
    ? { among: new Set(values.keys()), target: new Set(classes) }
    : { among: new Set([...values.keys()].filter(isPlain)), target: new Set(plain) }
}

function isWithin(inner: ReadonlySet<number>, outer: ReadonlySet<number>): boolean {
  return [...inner].every((n) => outer.has(n))
}

/** Few words that together are true of `target` and of nothing else; `undefined` if there are none. */
function cover(words: readonly Word[], target: ReadonlySet<number>): readonly Word[] | undefined {
  const fitting = words.filter(({ members }) => members.size > 0 && isWithin(members, target))
  const left = new Set(target)
  const chosen: Word[] = []
  while (left.size > 0) {
    let best: Word | undefined
    let gain = 0
    for (const word of fitting) {
      const adds = [...word.members].filter((n) => left.has(n)).length
      if (adds > gain) [best, gain] = [word, adds]
    }
    if (best === undefined || chosen.length >= MAX_WORDS) return undefined
    chosen.push(best)
    for (const n of best.members) left.delete(n)
  }
  return chosen
}

function either(words: readonly Word[]): string {
  const exact = words.flatMap((word) =>
    word.exact === undefined ? [] : [JSON.stringify(word.exact)],
  )
  const rest = words.filter((word) => word.exact === undefined).map(({ phrase }) => phrase)
  const list =
    exact.length > 1 ? `is one of ${exact.join(', ')}` : exact.map((one) => `is ${one}`)[0]
  return [...(list === undefined ? [] : [list]), ...rest].join(' or ')
}

function neither(words: readonly Word[]): readonly string[] {
  const exact = words.flatMap((word) =>
    word.exact === undefined ? [] : [JSON.stringify(word.exact)],
  )
  const rest = words.filter((word) => word.exact === undefined).map(({ phrase }) => negated(phrase))
  const list =
    exact.length > 1 ? `is none of ${exact.join(', ')}` : exact.map((one) => `is not ${one}`)[0]
  return [...(list === undefined ? [] : [list]), ...rest]
}

const NEGATIONS: readonly (readonly [RegExp, string])[] = [
  [/^is absent$/, 'is there'],
  [/^presents no certificate$/, 'presents a certificate'],
  [/^presents a certificate$/, 'presents no certificate'],
  [/^carries no token$/, 'carries a token'],
  [/^carries /, 'does not carry '],
  [/^is /, 'is not '],
  [/^has /, 'does not have '],
  [/^begins /, 'does not begin '],
  [/^ends /, 'does not end '],
  [/^fits /, 'does not fit '],
]

function negated(phrase: string): string {
  const [pattern = /^/, instead = 'not: '] = NEGATIONS.find(([one]) => one.test(phrase)) ?? []
  return phrase.replace(pattern, instead)
}
