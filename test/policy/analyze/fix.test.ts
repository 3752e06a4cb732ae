/** `analyze --fix`: what it changes decides nothing, and touches nothing else. */
import test from 'ava'
import * as fc from 'fast-check'
import { Document, isMap, isSeq, visit } from 'yaml'

import { analyze } from '#policy/analyze/index.ts'
import { compareIntents, PolicyError, readManifests } from '#policy/index.ts'
import type { AuthorizationPolicy, Rule } from '#policy/model/index.ts'
import { editManifest, type ManifestEdit } from '#policy/dialects/edit-manifest.ts'
import { policies } from '../random-authorization.ts'

const SOAK = Number(process.env['REDOUBT_SOAK'] ?? 1)

const MESH = {
  path: 'mesh.yaml',
  text: `
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: web, namespace: app }
spec: { serviceAccount: web, ports: [{ name: http, port: 8080 }, { name: tcp, port: 9000 }] }
`,
}

/** Rules and values written twice, and rules that ask for more than another of the policy. */
const doubled: fc.Arbitrary<AuthorizationPolicy[]> = fc
  .tuple(policies, fc.infiniteStream(fc.nat(9)))
  .map(([list, chance]) => {
    const next = (): number => chance.next().value ?? 0
    const narrowed = (rule: Rule): Rule => ({
      ...rule,
      when: [...(rule.when ?? []), { key: 'destination.port', values: ['8080'] }],
    })
    const twice = (values: readonly string[]): readonly string[] =>
      next() < 3 ? [...values, ...values.slice(0, 1)] : values
    const repeated = (rule: Rule): Rule =>
      JSON.parse(JSON.stringify(rule), (_, value: unknown) =>
        Array.isArray(value) && typeof value[0] === 'string' ? twice(value) : value,
      ) as Rule
    return list.map((policy) => {
      const rules = policy.rules.filter(isValid).flatMap((rule) => {
        const way = next()
        if (way < 2) return [repeated(rule), repeated(rule)]
        if (way < 4) return [narrowed(rule), repeated(rule)]
        return way < 5 ? [rule, narrowed(rule), rule] : [repeated(rule)]
      })
      return { ...policy, rules }
    })
  })

function isValid({ from, to, when }: Rule): boolean {
  const manifest = {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'x' },
    spec: {
      rules: [
        {
          from: from?.map((source) => ({ source })),
          to: to?.map((operation) => ({ operation })),
          when,
        },
      ],
    },
  }
  return readManifests([{ path: 'x', text: JSON.stringify(manifest) }]).documents[0]?.valid === true
}

/** As people write it: blocks and brackets, quotes, comments above rules and behind them. */
function written(policy: AuthorizationPolicy, next: () => number, mark: () => string): string {
  const { namespace, name, action, provider, dryRun, rules } = policy
  const annotations = dryRun ? { 'istio.io/dry-run': 'true' } : undefined
  const document = new Document({
    apiVersion: `security.istio.io/v1${next() < 3 ? 'beta1' : ''}`,
    kind: 'AuthorizationPolicy',
    metadata: { name, namespace, annotations },
    spec: {
      action,
      ...(provider === undefined ? {} : { provider: { name: provider } }),
      rules: rules.map(({ from, to, when }) => ({
        from: from?.map((source) => ({ source })),
        to: to?.map((operation) => ({ operation })),
        when,
      })),
    },
  })
  visit(document, {
    Collection(_key, node, path) {
      if (path.length > 2 && next() < 3) node.flow = true
    },
    Scalar(key, node) {
      if (key !== 'key' && typeof node.value === 'string' && next() < 2)
        node.type = next() < 5 ? 'QUOTE_DOUBLE' : 'QUOTE_SINGLE'
    },
  })
  const list = document.getIn(['spec', 'rules'])
  for (const item of isSeq(list) && !list.flow ? list.items : []) {
    if (isMap(item) && !item.flow && next() < 4) item.commentBefore = ` ${mark()}`
  }
  document.commentBefore = ` ${mark()}`
  return document.toString({ indentSeq: next() < 5, lineWidth: next() < 3 ? 20 : 0 })
}

test('what --fix changes decides no request otherwise, keeps every comment, and is done at once', (t) => {
  const seen: Record<string, number> = {}
  const property = fc.property(doubled, fc.infiniteStream(fc.nat(9)), (list, chance) => {
    const next = (): number => chance.next().value ?? 0
    let marks = 0
    const mark = (): string => {
      marks += 1
      return `kept ${marks}.`
    }
    const valid = list
      .map((policy) => written(policy, next, mark))
      .filter((text) => readManifests([{ path: 'x', text }]).documents[0]?.valid)
    const file = { path: 'policies.yaml', text: valid.join('---\n') }
    const { repaired, findings } = analyze([MESH, file])
    const fixed = repaired[0] ?? file
    for (const { code } of findings.filter(({ fixable }) => fixable))
      seen[code] = (seen[code] ?? 0) + 1

    const again = analyze([MESH, fixed])
    if (again.repaired.length > 0 || again.findings.some(({ fixable }) => fixable))
      throw new Error(`it is repaired again:\n${fixed.text}`)
    const comments = (text: string): readonly string[] => text.match(/# kept \d+\./g) ?? []
    if (comments(file.text).join() !== comments(fixed.text).join())
      throw new Error(`a comment is gone:\n${file.text}\nbecame\n${fixed.text}`)
    const lines = new Set(file.text.split('\n'))
    const others = fixed.text.split('\n').filter((line) => !lines.has(line))
    if (others.length > findings.filter(({ fixable }) => fixable).length)
      throw new Error(`more lines changed than have a repair:\n${others.join('\n')}`)

    const [before, after] = [file, fixed].map((one) => readManifests([MESH, one]).intent)
    if (before === undefined || after === undefined) throw new Error('both are read')
    const changed = changesOf(before, after)
    if (changed > 0)
      throw new Error(`${changed} classes change:\n${file.text}\nbecame\n${fixed.text}`)
  })
  fc.assert(property, { numRuns: 100 * SOAK, includeErrorInReport: true })
  t.log(seen)
  for (const code of ['RDB0001', 'RDB0021', 'RDB0027']) t.true((seen[code] ?? 0) > 20, code)
})

function changesOf(...[before, after]: Parameters<typeof compareIntents>): number {
  try {
    return compareIntents(before, after).reduce((sum, { total }) => sum + total, 0)
  } catch (cause) {
    // Too many classes to compare: no answer is no change found.
    if (cause instanceof PolicyError && cause.code === 'POLICY_LIMIT') return 0
    throw cause
  }
}

const EDITS: readonly (readonly [string, string, ManifestEdit, string | undefined])[] = [
  ['the last of a list in brackets', 'a: [x, y]\n', { kind: 'remove', path: ['a', 1] }, 'a: [x]\n'],
  ['the first', 'a: [x, y] # c\n', { kind: 'remove', path: ['a', 0] }, 'a: [y] # c\n'],
  [
    'a line with its comment, and no other comment',
    'a:\n  # one\n  - x # mine\n  # two\n  - y\n',
    { kind: 'remove', path: ['a', 0] },
    'a:\n  # one\n  # two\n  - y\n',
  ],
  [
    'the last of brackets over lines, whose neighbour has a comment',
    'a: [\n  x, # why\n  y, # mine\n]\n',
    { kind: 'remove', path: ['a', 1] },
    'a: [\n  x, # why\n  \n]\n',
  ],
  [
    'one of brackets over lines, whose neighbour has a comment',
    'a: [\n  x, # mine\n  # why\n  y\n]\n',
    { kind: 'remove', path: ['a', 0] },
    'a: [\n  \n  # why\n  y\n]\n',
  ],
  ['CRLF stays', 'a:\r\n- x\r\n- y\r\n', { kind: 'remove', path: ['a', 1] }, 'a:\r\n- x\r\n'],
  ['a key and its quotes', '"a": x\n', { kind: 'rename', path: ['a'], name: 'b' }, '"b": x\n'],
  ['a name that is taken', 'a: x\nb: y\n', { kind: 'rename', path: ['a'], name: 'b' }, undefined],
  ['the only one of a list', 'a: [x]\n', { kind: 'remove', path: ['a', 0] }, undefined],
  [
    'what an alias stands for',
    'a: &l [x, y]\nb: *l\n',
    { kind: 'remove', path: ['b', 1] },
    undefined,
  ],
  ['what an alias repeats', 'a: &l [x, y]\nb: *l\n', { kind: 'remove', path: ['a', 1] }, undefined],
  [
    'an anchor that is needed',
    'a: [x, &y z]\nb: *y\n',
    { kind: 'remove', path: ['a', 1] },
    undefined,
  ],
  [
    'a list beside a dash',
    'a:\n- - x\n  - y\n- z\n',
    { kind: 'remove', path: ['a', 0, 0] },
    undefined,
  ],
  ['a place that is not there', 'a: [x, y]\n', { kind: 'remove', path: ['b', 0] }, undefined],
]

for (const [what, text, edit, edited] of EDITS) {
  test(`an edit of a manifest: ${what}`, (t) => {
    const result = editManifest(text, [{ document: 1, edit }])
    t.is(result.text, edited ?? text)
    t.is(result.made.length, edited === undefined ? 0 : 1)
  })
}

test('edits that stand in each other’s way are made one after the other, and those that can be', (t) => {
  const remove = (...path: (string | number)[]) => ({
    document: 1,
    edit: { kind: 'remove', path } as const,
  })
  const edits = [remove('a', 0), remove('a', 1), remove('a', 0, 'b', 1), remove('c', 0)]
  const { text, made } = editManifest('a: [{ b: [x, y] }, z, z]\nc: [one]\n', edits)
  t.is(text, 'a: [z]\nc: [one]\n')
  t.is(made.length, 3)
})
