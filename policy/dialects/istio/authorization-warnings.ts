/** What is legal in an AuthorizationPolicy and probably not meant. */
import type { Warning } from '../kind.ts'
import type { PathKey } from '../pointer.ts'
import { filledLists } from './authorization-values.ts'

type Lists = Readonly<Record<string, readonly string[] | undefined>>

interface RawRule {
  readonly from?: readonly { readonly source: Lists }[] | undefined
  readonly to?: readonly { readonly operation: Lists }[] | undefined
  readonly when?: readonly ({ readonly key: string } & object)[] | undefined
}

interface RawPolicy {
  readonly action?: string | undefined
  readonly targetRef?: object | undefined
  readonly targetRefs?: readonly object[] | undefined
  readonly rules?: readonly RawRule[] | undefined
}

/** Everything doubtful in `policy`, which stands at `/spec`. */
export function warnPolicy(policy: RawPolicy): readonly Warning[] {
  return [...warnEmptyLists(policy), ...warnHttpOnlyDeny(policy), ...warnTargets(policy)]
}

/** Attached by reference, so for gateways and waypoints (§0.4). */
export function isTargeted({ targetRef: single, targetRefs = [] }: RawPolicy): boolean {
  return single !== undefined || targetRefs.length > 0
}

function warnEmptyLists({ rules = [] }: RawPolicy): readonly Warning[] {
  const emptyIn = (value: object, path: readonly PathKey[]): Warning[] =>
    Object.entries(value)
      .filter(([, list]) => Array.isArray(list) && list.length === 0)
      .map(([field]) => ({
        path: [...path, field],
        message: 'the list is empty, which means no constraint at all',
      }))
  return rules.flatMap((value, index) => {
    const path = ['spec', 'rules', index]
    return [
      ...emptyIn(value, path),
      ...(value.from ?? []).flatMap((entry, at) =>
        emptyIn(entry.source, [...path, 'from', at, 'source']),
      ),
      ...(value.to ?? []).flatMap((entry, at) =>
        emptyIn(entry.operation, [...path, 'to', at, 'operation']),
      ),
      ...(value.when ?? []).flatMap((entry, at) => emptyIn(entry, [...path, 'when', at])),
    ]
  })
}

/** On a TCP port a DENY that names only HTTP attributes denies every connection (§1.8). */
function warnHttpOnlyDeny({ action, rules = [] }: RawPolicy): readonly Warning[] {
  if (action !== 'DENY') return []
  return rules.flatMap((value, index) =>
    isHttpOnly(value)
      ? [
          {
            path: ['spec', 'rules', index],
            message:
              'it has only HTTP attributes and no port, so it denies every connection to a TCP port',
          },
        ]
      : [],
  )
}

function isHttpOnly({ from = [], to = [], when = [] }: RawRule): boolean {
  const names = [
    ...from.flatMap((entry) => Object.keys(filledLists<object>(entry.source))),
    ...to.flatMap((entry) => Object.keys(filledLists<object>(entry.operation))),
    ...when.map(({ key }) => key),
  ]
  const http = /^(request\.|(not)?(requestPrincipals|hosts|methods|paths)$)/i
  return names.length > 0 && names.every((name) => http.test(name))
}

function warnTargets(written: RawPolicy): readonly Warning[] {
  if (!isTargeted(written)) return []
  const message = 'a policy with targetRefs is for gateways and waypoints: no sidecar applies it'
  return [{ path: ['spec'], message }]
}
