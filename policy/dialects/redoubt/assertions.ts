/**
 * The file of `redoubt authz prove`: what must hold of a mesh's policies, in the words of its rules.
 *
 * A list, `assertions`, each with the workloads that it is about and one of `never`, `always`, `only`: rules as
 * in an AuthorizationPolicy, of which a request meets some or none.
 */
import { z } from 'zod'

import type { Rule } from '../../model/authorization.ts'
import type { Fault } from '../../model/intent.ts'
import { rule, ruleFromSpec } from '../istio/authorization.ts'
import { readDocuments } from '../read-document.ts'
import { faultsOf, fields, text } from '../schema.ts'

/** What must hold. */
export interface Assertion {
  readonly name: string
  /** `namespace/name`; either may be `*`. */
  readonly workload: string
  /**
   * `never`: no request that some rule describes is allowed. `always`: each is. `only`: no other request is
   * allowed than those.
   */
  readonly kind: 'never' | 'always' | 'only'
  readonly rules: readonly Rule[]
  /** Where it stands, from 1. */
  readonly line: number
}

/** A file of assertions, read: all of them, or what is wrong with it. */
export type AssertionsReading =
  | { readonly kind: 'read'; readonly assertions: readonly Assertion[] }
  | { readonly kind: 'faulty'; readonly faults: readonly Fault[] }

const workload = text((written) =>
  /^(\*|[^/*:]+)\/(\*|[^/*:]+)$/.test(written)
    ? undefined
    : `found ${JSON.stringify(written)}, expected namespace/workload; either may be *`,
)
const rules = z.array(rule).min(1).optional()
const KINDS = ['never', 'always', 'only'] as const

const assertion = fields(
  { name: z.string().min(1), workload, never: rules, always: rules, only: rules },
  {
    check: (value, report) => {
      const given = KINDS.filter((kind) => value[kind] !== undefined)
      if (given.length !== 1) {
        report(
          [],
          `it has ${given.join(' and ') || 'none of them'}: expected one of never, always, only`,
        )
      }
    },
  },
)

const schema = fields(
  { assertions: z.array(assertion).min(1) },
  {
    check: ({ assertions }, report) => {
      const names = assertions.map(({ name }) => name)
      for (const [at, name] of names.entries()) {
        if (names.indexOf(name) < at) {
          report(
            ['assertions', at, 'name'],
            `there is already an assertion ${JSON.stringify(name)}`,
          )
        }
      }
    },
  },
)

/** Reads a file of assertions. Never throws. */
export function readAssertions(file: string): AssertionsReading {
  const [document, ...more] = readDocuments(file)
  if (document === undefined || more.length > 0) {
    const message = 'expected one document with assertions'
    return { kind: 'faulty', faults: [{ pointer: '', line: more[0]?.line ?? 1, message }] }
  }
  const { value, lineOf } = document
  const faults = document.faults.length > 0 ? document.faults : faultsOf(schema, value, lineOf)
  if (faults.length > 0) return { kind: 'faulty', faults }
  const { assertions } = value as z.output<typeof schema>
  return {
    kind: 'read',
    assertions: assertions.map((one, at) => {
      const kind = KINDS.find((word) => one[word] !== undefined) ?? 'never'
      const { name, workload: workloads } = one
      const written = (one[kind] ?? []).map(ruleFromSpec)
      const line = lineOf(['assertions', at])
      return { name, workload: workloads, kind, rules: written, line }
    }),
  }
}
