/** JSON Web Key Sets as Istio's validation reads them (istio-semantics §3.2). */

/** Members that a key of each type must have, in base64 of either alphabet without padding. */
const MEMBERS: Readonly<Record<string, readonly string[]>> = {
  RSA: ['n', 'e'],
  EC: ['x', 'y'],
  OKP: ['x'],
  oct: ['k'],
}
const CURVED = ['EC', 'OKP']
const BINARY = /^[A-Za-z0-9+/_-]*$/
/** Of any key; members beyond these are free. */
const TEXTS = ['alg', 'crv', 'kid', 'use', 'x5u', 'x5t', 'x5t#S256']

type Json = Readonly<Record<string, unknown>>

export type KeySetReading =
  | { readonly kind: 'ok'; readonly hasPrivateKeys: boolean }
  | { readonly kind: 'refused'; readonly why: string }

/** Reads `text`, a key set or a single key. */
export function readKeySet(text: string): KeySetReading {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { kind: 'refused', why: 'it is not JSON: expected a JSON Web Key Set' }
  }
  if (!isObject(value)) return { kind: 'refused', why: 'expected an object with a list "keys"' }
  const keys = Object.hasOwn(value, 'keys') ? value['keys'] : [value]
  if (!Array.isArray(keys)) return { kind: 'refused', why: '"keys" is not a list' }
  for (const [index, key] of keys.entries()) {
    const wrong = keyFault(key)
    if (wrong !== undefined) return { kind: 'refused', why: `key ${index}: ${wrong}` }
  }
  return {
    kind: 'ok',
    hasPrivateKeys: keys.some((key: Json) => 'd' in key || key['kty'] === 'oct'),
  }
}

function keyFault(key: unknown): string | undefined {
  if (!isObject(key)) return 'it is not an object'
  const type = String(key['kty'])
  const members = Object.hasOwn(MEMBERS, type) ? MEMBERS[type] : undefined
  if (!members) return `"kty" is ${JSON.stringify(key['kty'])}, expected RSA, EC, OKP or oct`
  const missing = members.find((name) => typeof key[name] !== 'string' || key[name] === '')
  if (missing !== undefined) return `"${missing}" is missing`
  const broken = members.find((name) => !BINARY.test(String(key[name])))
  if (broken !== undefined) return `"${broken}" is not base64url`
  const odd = TEXTS.find((name) => key[name] !== undefined && typeof key[name] !== 'string')
  if (odd !== undefined) return `"${odd}" is not a string`
  if (key['x5c'] !== undefined && !Array.isArray(key['x5c'])) return '"x5c" is not a list'
  return CURVED.includes(type) && !key['crv'] ? '"crv" is missing' : undefined
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
