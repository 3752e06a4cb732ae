/** What may stand in the lists of an AuthorizationPolicy (istio-semantics §1.4, §1.7, §1.14). */
import { subnetFault } from '../grammar.ts'
import type { PathKey } from '../pointer.ts'
import type { Report } from '../schema.ts'
import { pathFault } from './path-template.ts'

/** Says what is wrong with one value, or nothing. */
export type ValueFault = (value: string) => string | undefined

const anything: ValueFault = (value) => (value === '' ? 'an empty value is not allowed' : undefined)

/** `check`, for values that are not empty. */
const filled =
  (check: ValueFault): ValueFault =>
  (value) =>
    anything(value) ?? check(value)

const portFault: ValueFault = (value) =>
  /^\d+$/.test(value) && Number(value) <= 65535
    ? undefined
    : `found ${JSON.stringify(value)}, expected a port from 0 to 65535`

const serviceAccountFault: ValueFault = (value) => {
  const wrong = (why: string): string =>
    `found ${JSON.stringify(value)}, expected "account" or "namespace/account": ${why}`
  if (Buffer.byteLength(value) > 320) return wrong('it is longer than 320 bytes')
  if (value.includes('*')) return wrong('a wildcard is not supported')
  const parts = value.split('/')
  if (parts.length > 2) return wrong('it has more than one "/"')
  return parts.includes('') ? wrong('a part is empty') : undefined
}

const trustDomainFault: ValueFault = (value) => {
  const wrong = (why: string): string =>
    `found ${JSON.stringify(value)}, expected a trust domain: ${why}`
  return value.includes('/') ? wrong('it has a "/"') : starsFault(value)
}

/** In a condition Istio minds the stars alone (§1.7). */
const starsFault: ValueFault = (value) => {
  const wrong = (why: string): string =>
    `found ${JSON.stringify(value)}, expected a trust domain: ${why}`
  const stars = value.split('*').length - 1
  if (stars > 1) return wrong('it has more than one "*"')
  if (stars === 1 && !value.startsWith('*') && !value.endsWith('*')) {
    return wrong('a "*" may only begin or end it')
  }
  return undefined
}

/** Values of one list of service accounts. */
export const MAX_SERVICE_ACCOUNTS = 16

/** What a field's values may be, by what they name. */
export const VALUES: Readonly<
  Record<'anything' | 'serviceAccount' | 'subnet' | 'trustDomain' | 'port' | 'path', ValueFault>
> = {
  anything,
  serviceAccount: filled(serviceAccountFault),
  subnet: filled(subnetFault),
  trustDomain: filled(trustDomainFault),
  port: filled(portFault),
  path: filled(pathFault),
}

/** Keys that stand alone, by what their values must be. */
const CONDITION_KEYS: Readonly<Record<string, ValueFault>> = {
  'source.ip': VALUES.subnet,
  'remote.ip': VALUES.subnet,
  'source.namespace': anything,
  'source.serviceAccount': VALUES.serviceAccount,
  'source.principal': anything,
  'source.trustDomain': filled(starsFault),
  'request.auth.principal': anything,
  'request.auth.audiences': anything,
  'request.auth.presenter': anything,
  'destination.ip': VALUES.subnet,
  'destination.port': VALUES.port,
  'connection.sni': anything,
}

/** Keys with a name in brackets; Istio looks at how they begin, and for something between the outer ones. */
const CONDITION_MAPS =
  /^(?:request\.headers|request\.auth\.claims|experimental\.envoy\.filters\.)[^[]*\[.+\]$/s

/** Of those: what no part of Istio can take apart afterwards, so that it is no condition (§1.8). */
export const MISREAD_KEY: RegExp = /^request\.(?:headers|auth\.claims)[^[]/

/** Keys that others have or had, with what to do instead. */
const REPLACED_KEYS: readonly (readonly [RegExp, string])[] = [
  [/^destination\.namespace$/, 'put the policy into that namespace'],
  [/^destination\.labels\b/, 'use the selector'],
  [/^destination\.(name|user)$/, 'it belongs to an API of the past'],
  [
    /^(request\.headers|request\.auth\.claims|experimental\.envoy\.filters\.)/,
    'expected the form key[name]',
  ],
]

export const CONDITION_KEY_NAMES: readonly string[] = [
  ...Object.keys(CONDITION_KEYS),
  'request.headers[name]',
  'request.auth.claims[name]',
]

/** What judges the values of `when` entry `key`, or why the key is refused. */
export function conditionKey(
  key: string,
):
  | { readonly kind: 'known'; readonly value: ValueFault }
  | { readonly kind: 'refused'; readonly why: string } {
  if (Object.hasOwn(CONDITION_KEYS, key))
    return { kind: 'known', value: CONDITION_KEYS[key] ?? anything }
  if (CONDITION_MAPS.test(key)) return { kind: 'known', value: anything }
  const why = REPLACED_KEYS.find(([pattern]) => pattern.test(key))?.[1]
  return { kind: 'refused', why: why ?? 'unknown attribute' }
}

/** Reports an object whose every list is empty or left out. */
export function checkFilled(
  value: Readonly<Record<string, readonly string[] | undefined>>,
  report: Report,
): void {
  if (Object.values(value).some((list) => list && list.length > 0)) return
  const message = 'it has no values: expected at least one, as it would otherwise match everything'
  report([], message)
}

/** `principals` for `notPrincipals`. */
export function positiveOf(field: string): string {
  return field.startsWith('not') ? `${field.charAt(3).toLowerCase()}${field.slice(4)}` : field
}

/** Reports each value of `list`, which stands at `path`, that `fault` refuses. */
export function checkList(
  list: readonly string[],
  fault: ValueFault,
  path: readonly PathKey[],
  report: Report,
): void {
  list.forEach((value, index) => {
    const wrong = fault(value)
    if (wrong !== undefined) report([...path, index], wrong)
  })
}

/** `value` without its empty lists, which mean no constraint (§0.8.2). */
export function filledLists<T>(value: Readonly<Record<string, readonly string[] | undefined>>): T {
  return Object.fromEntries(
    Object.entries(value).filter(([, list]) => list && list.length > 0),
  ) as T
}
