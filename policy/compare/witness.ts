/** One request of a class, as `authz check` takes it. */
import type { SpiffeId } from '#ca/spiffe/index.ts'
import type { CheckQuery } from '../check/index.ts'
import type { Claims } from '../model/index.ts'
import type { Cube } from './cubes.ts'
import type { AttributeId } from './literal.ts'
import type { Dimension, Value } from './space.ts'
import type { TokenKind } from './tokens.ts'

/** A request, and the kind of token that it carries: `query.claims` are those of a signed one. */
export interface Witness {
  readonly query: CheckQuery
  readonly token: TokenKind | undefined
}

/** What is no token, whoever reads it. */
const INVALID = 'not-a-token'

/** The plainest request of `cube`. */
export function witnessOf(
  space: readonly Dimension[],
  cube: Cube,
  to: { readonly namespace: string; readonly name: string },
  tokens: readonly TokenKind[],
): Witness {
  const one = new Map<AttributeId, Value>()
  const many = new Map<AttributeId, readonly string[]>()
  for (const [at, { attribute, many: isMany, values }] of space.entries()) {
    if (isMany) many.set(attribute, presentValues(values, cube.lines.get(at)))
    else one.set(attribute, plainest(values, cube.classes.get(at)))
  }
  const [port, speaks] = (one.get('entry') ?? '').split('/')
  const from = one.get('peer') as SpiffeId | undefined
  const connection = {
    to: { namespace: to.namespace, name: to.name, port: Number(port) },
    from,
    ...textField('sourceIp', one.get('sourceIp')),
    ...textField('destinationIp', one.get('destinationIp')),
    // Left out, it would be what a sidecar sends; empty, it meets what an absent one meets.
    ...(one.has('sni') && from !== undefined ? { sni: one.get('sni') ?? '' } : {}),
  }
  if (speaks === 'tcp') return { query: { ...connection, protocol: 'tcp' }, token: undefined }
  const method = one.get('method') ?? 'GET'
  const token = tokens.find(({ id }) => id === one.get('token'))
  const query: CheckQuery = {
    ...connection,
    protocol: 'http1',
    method,
    path: one.get('path') ?? '/',
    ...textField('host', one.get('host')),
    ...textField('remoteIp', one.get('remoteIp')),
    ...headersOf(one, many, method),
    ...(token?.signed === undefined ? {} : { claims: claimsOf(one, many) }),
  }
  return { query: token?.signed === undefined ? withInvalid(query, token) : query, token }
}

/** Puts what is no token where `token` stands. */
function withInvalid(query: CheckQuery, token: TokenKind | undefined): CheckQuery {
  if (token === undefined) return query
  const { place } = token
  if (place.in === 'parameter') {
    return { ...query, path: `${query.path}?${encodeURIComponent(place.name)}=${INVALID}` }
  }
  const [name, line] =
    place.in === 'header'
      ? [place.name, `${place.prefix}${INVALID}`]
      : ['cookie', `${place.name}=${INVALID}`]
  return { ...query, headers: { ...query.headers, [name]: [line] } }
}

/** The first, but of paths one without parameters. */
function plainest(values: readonly Value[], classes: readonly number[] = [0]): Value {
  const choices = classes.map((at) => values[at])
  return choices.find((value) => value?.includes(';') !== true) ?? choices[0]
}

function presentValues(
  values: readonly Value[],
  lines: ReadonlyMap<number, boolean> | undefined,
): readonly string[] {
  const present = [...(lines ?? [])].filter(([, there]) => there)
  return present.flatMap(([member]) => values[member] ?? [])
}

function textField<K extends string>(name: K, value: Value): { readonly [P in K]?: string } {
  return (value === undefined ? {} : { [name]: value }) as { readonly [P in K]?: string }
}

function headersOf(
  one: ReadonlyMap<AttributeId, Value>,
  many: ReadonlyMap<AttributeId, readonly string[]>,
  method: string,
): Pick<CheckQuery, 'headers'> {
  const named = [...one, ...many].flatMap(([attribute, value]) => {
    const lines = typeof value === 'string' ? [value] : (value ?? [])
    const isThere = attribute.startsWith('header:') && lines.length > 0
    return isThere ? [[attribute.slice('header:'.length), lines] as const] : []
  })
  const headers: Record<string, readonly string[]> = Object.fromEntries(named)
  // Without one it would be answered 400 before any policy.
  if (method === 'QUERY') headers['content-type'] ??= ['text/plain']
  return Object.keys(headers).length === 0 ? {} : { headers }
}

function claimsOf(
  one: ReadonlyMap<AttributeId, Value>,
  many: ReadonlyMap<AttributeId, readonly string[]>,
): Claims {
  const texts = [...one].filter(([id, text]) => id.startsWith('claim:') && text !== undefined)
  const claims: Record<string, unknown> = Object.fromEntries(
    texts.map(([id, text]) => [claimPath(id)[0], text]),
  )
  for (const [attribute, values] of many) {
    if (!attribute.startsWith('claim:') || values.length === 0) continue
    const path = claimPath(attribute)
    let at = claims
    for (const name of path.slice(0, -1)) {
      const next = (at[name] ?? {}) as Record<string, unknown>
      at[name] = next
      at = next
    }
    const [only = ''] = values
    // A text with spaces would be a list for some claims.
    at[path.at(-1) ?? ''] = values.length === 1 && !only.includes(' ') ? only : values
  }
  return claims
}

function claimPath(attribute: AttributeId): readonly string[] {
  return JSON.parse(attribute.slice('claim:'.length)) as string[]
}
