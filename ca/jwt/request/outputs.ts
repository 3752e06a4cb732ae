/** What a verified token adds to the request (istio-semantics §3.4, §0.8.22). */
import type { TokenClaims, TokenRule } from './token-rule.ts'

export interface AddedHeader {
  /** Lower case. */
  readonly name: string
  /** One character a byte; nothing that could end a line. */
  readonly value: string
}

/** Headers that `rule` may add: one of the client's own never passes for one of these. */
export function outputHeaderNames(rule: TokenRule): readonly string[] {
  const { outputPayloadToHeader, outputClaimToHeaders } = rule
  const claims = outputClaimToHeaders.map(({ header }) => header)
  return outputPayloadToHeader === undefined ? claims : [outputPayloadToHeader, ...claims]
}

/** @param text - the token, verified */
export function outputHeaders(
  rule: TokenRule,
  text: string,
  claims: TokenClaims,
): readonly AddedHeader[] {
  const { outputPayloadToHeader: name, outputClaimToHeaders } = rule
  const payload = name === undefined ? [] : [{ name, value: text.split('.')[1] ?? '' }]
  const copied = outputClaimToHeaders.flatMap(({ header, claim }) => {
    const value = headerValueOf(valueAt(claims, claim.split('.')))
    return value === undefined ? [] : [{ name: header, value }]
  })
  return [...payload, ...copied]
}

function valueAt(claims: TokenClaims, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (value, name) =>
      typeof value === 'object' &&
      value !== null &&
      !Array.isArray(value) &&
      Object.hasOwn(value, name)
        ? (value as TokenClaims)[name]
        : undefined,
    claims,
  )
}

/** RFC 9110 §5.5. */
const FIELD_VALUE = /^[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?$/

/** `undefined` for null, for nothing, and for text that no header can carry. */
function headerValueOf(value: unknown): string | undefined {
  if (typeof value === 'string') {
    // White space at the ends would not arrive.
    const bytes = Buffer.from(value, 'utf8')
      .toString('latin1')
      .replace(/^[\t ]+|[\t ]+$/g, '')
    return FIELD_VALUE.test(bytes) ? bytes : undefined
  }
  if (typeof value === 'boolean') return String(value)
  if (typeof value === 'number') return textOfNumber(value)
  if (typeof value !== 'object' || value === null) return undefined
  return Buffer.from(JSON.stringify(value), 'utf8').toString('base64')
}

/** As Envoy prints them: what is no whole number from 0 has six decimals. */
function textOfNumber(value: number): string {
  const isWhole = Number.isInteger(value) && value >= 0 && value < 2 ** 63
  if (isWhole) return BigInt(value).toString()
  if (Number.isInteger(value)) return `${BigInt(value)}.000000`
  return value.toFixed(6)
}
