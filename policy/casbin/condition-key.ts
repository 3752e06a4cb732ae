const HEADER = /^request\.headers\[(.+)\]$/s
const CLAIMS = /^request\.auth\.claims((?:\[[^\]]*\])+)$/

/** The header that a `when` key names, in lower case; `undefined` for another key. */
export function readHeaderName(key: string): string | undefined {
  return HEADER.exec(key)?.[1]?.toLowerCase()
}

/** The claims that `request.auth.claims[a][b]` names, outermost first; `undefined` for another key. */
export function readClaimPath(key: string): readonly string[] | undefined {
  return CLAIMS.exec(key)?.[1]?.slice(1, -1).split('][')
}

/** Whether a `when` key exists on HTTP alone (§1.7). */
export function isHttpKey(key: string): boolean {
  return key.startsWith('request.')
}

const METADATA = /^experimental\.envoy\.filters\.[^[\]]+\[[^[\]]+\]$/

/** Whether a `when` key names one value of a map: a header, a claim, or filter metadata. */
export function isMapKey(key: string): boolean {
  return HEADER.test(key) || CLAIMS.test(key) || METADATA.test(key)
}
