/** Values that no request ever has, and values that stand twice: slips of the pen. */
import { isKnownMethod, normalizePath } from '../model/index.ts'
import type { Draft } from './finding.ts'
import type { Scene } from './scene.ts'
import { sidecarPolicies } from './scene.ts'
import { all, draft, writtenValues } from './unknown.ts'

const SCHEME = 'spiffe://'

/** RDB0018: principals are written without the scheme (§1.4). */
export function findSchemes(scene: Scene): readonly Draft[] {
  return all(scene).flatMap((one): readonly Draft[] => {
    if (!/^(principals|source\.principal)$/.test(one.field)) return []
    if (!one.value.startsWith(SCHEME)) return []
    const value = one.value.slice(SCHEME.length)
    const message = `${JSON.stringify(one.value)} never matches: principals are written without ${SCHEME}`
    return [draft('RDB0018', one, message, `write ${JSON.stringify(value)}`)]
  })
}

/** RDB0019: method names are case-sensitive, and tokens that are no method are answered 400. */
export function findMethods(scene: Scene): readonly Draft[] {
  return all(scene).flatMap((one): readonly Draft[] => {
    const { field, value } = one
    if (field !== 'methods' || value.includes('*') || isKnownMethod(value)) return []
    const upper = value.toUpperCase()
    // gRPC methods are paths: a frequent slip.
    if (!isKnownMethod(upper)) {
      const message = `no request has the method ${JSON.stringify(value)}`
      return [
        draft('RDB0019', one, message, 'a gRPC method is a path: paths: [/package.Service/Method]'),
      ]
    }
    const message = `${JSON.stringify(value)} never matches: methods are compared with their case`
    return [draft('RDB0019', one, message, `write ${JSON.stringify(upper)}`)]
  })
}

/** RDB0020: policy sees paths normalised, without their query (§1.12). */
export function findPaths(scene: Scene): readonly Draft[] {
  const mode = scene.intent.mesh.pathNormalization
  return all(scene).flatMap((one): readonly Draft[] => {
    const { field, value } = one
    if (field !== 'paths' || /[{}]/.test(value) || !value.startsWith('/')) return []
    const isPrefix = value.endsWith('*')
    const plain = isPrefix ? value.slice(0, -1) : value
    const read = normalizePath(plain, mode)
    // What a prefix begins, normalisation may still change: a last segment of dots, half an escape.
    if (isPrefix && /(\/\.{0,2}|%.?)$/.test(plain) && !/[?#]|\/\/|\/\.\.?\//.test(plain)) return []
    if (read.kind === 'ok' && read.path === plain) return []
    const hint =
      read.kind === 'refused'
        ? `such a request is answered 400: ${read.reason}`
        : `what policy sees of it is ${JSON.stringify(read.path)}`
    return [
      draft(
        'RDB0020',
        one,
        `no request has the path ${JSON.stringify(value)} once it is normalised`,
        hint,
      ),
    ]
  })
}

/** RDB0021 */
export function findRepeated(scene: Scene): readonly Draft[] {
  return sidecarPolicies(scene).flatMap((policy) => {
    const seen = new Set<string>()
    return writtenValues(policy).flatMap((one): readonly Draft[] => {
      const key = JSON.stringify([one.path.slice(0, -1), one.value])
      if (!seen.has(key)) {
        seen.add(key)
        return []
      }
      const found = draft(
        'RDB0021',
        one,
        `${JSON.stringify(one.value)} stands in the list already`,
        'remove it',
      )
      return [{ ...found, fix: { kind: 'remove', path: one.path } }]
    })
  })
}
