const HEADER = /^request\.headers\[(.+)\]$/s
/** Claims in brackets of their own; or, where these are not in pairs, one claim with brackets in its name. */
const CLAIMS = /^request\.auth\.claims(?:((?:\[[^[\]]*\])+)|\[(.+)\])$/s
/** Keys that Istio's validation lets through and its generator cannot take apart. */
const MISREAD = /^request\.(?:headers|auth\.claims)[^[]+\[.+\]$/s

/** The header that a `when` key names, in lower case; `undefined` for another key. */
export function readHeaderName(key: string): string | undefined {
  return HEADER.exec(key)?.[1]?.toLowerCase()
}

/** The claims that `request.auth.claims[a][b]` names, outermost first; `undefined` for another key. */
export function readClaimPath(key: string): readonly string[] | undefined {
  const [, paired, whole] = CLAIMS.exec(key) ?? []
  return paired?.slice(1, -1).split('][') ?? (whole === undefined ? undefined : [whole])
}

/** Whether a `when` key has a form that nobody understands: its values are as ones that cannot be read (§1.8). */
export function isMisreadKey(key: string): boolean {
  return MISREAD.test(key)
}

/** Whether a `when` key exists on HTTP alone (§1.7). */
export function isHttpKey(key: string): boolean {
  return key.startsWith('request.')
}

const METADATA = /^experimental\.envoy\.filters\.[^[]*\[.+\]$/s

/** Whether a `when` key names one value of a map: a header, a claim, or filter metadata. */
export function isMapKey(key: string): boolean {
  return [HEADER, CLAIMS, METADATA, MISREAD].some((form) => form.test(key))
}
