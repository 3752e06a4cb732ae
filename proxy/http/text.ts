/** A byte beyond ASCII. */
const HIGH = /[\x80-\xff]/

/** RFC 3629 §4: one character of UTF-8, or a byte that is part of none. */
const CHARACTER =
  /[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}|[\x80-\xff]/g

/** Where bytes that are no UTF-8 go: lone surrogates, which no manifest has. */
const ESCAPED = 0xdc00

/**
 * A field's value as manifests write it. The wire has bytes and manifests have text, which Envoy compares as
 * UTF-8: so what is UTF-8 is read as that, and two values are one text only if they are the same bytes.
 *
 * @param bytes - one character a byte, as {@link FieldBlock} gives it
 */
export function textOf(bytes: string): string {
  return HIGH.test(bytes) ? bytes.replace(CHARACTER, decoded) : bytes
}

function decoded(bytes: string): string {
  return bytes.length === 1
    ? String.fromCharCode(ESCAPED + bytes.charCodeAt(0))
    : Buffer.from(bytes, 'latin1').toString('utf8')
}
