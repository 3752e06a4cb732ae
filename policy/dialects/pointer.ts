import { pointerSegment } from '../model/read-json.ts'

/** One step into a JSON value: a key or an index. */
export type PathKey = string | number

/** A path as a JSON Pointer (RFC 6901), e.g. `/spec/rules/0`; empty for the whole document. */
export function pointerFromPath(path: readonly PathKey[]): string {
  return path.map((key) => `/${pointerSegment(String(key))}`).join('')
}
