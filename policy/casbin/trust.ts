import type { TrustDomain } from '#ca/spiffe/index.ts'

/** Always understood as "the local trust domain" in principals (§1.9). */
const LOCAL = 'cluster.local'

/**
 * A principal as one per trust domain of the mesh, when its trust domain is one of them (§1.9, §0.8.29).
 * `*-td/…` stays as written for the members it covers; any other form is left alone.
 */
export function expandPrincipal(
  written: string,
  trustDomains: readonly TrustDomain[],
): readonly string[] {
  const [domain = '', ...rest] = written.split('/')
  if (rest.length !== 4 || domain === '*') return [written]
  if (domain !== LOCAL && !trustDomains.some((member) => covers(domain, member))) return [written]
  const expanded = trustDomains.map((member) =>
    coversAsSuffix(domain, member) ? written : [member, ...rest].join('/'),
  )
  return [...new Set(expanded)]
}

/** A trust domain as all of the mesh's when it equals one of them; else as written. */
export function expandTrustDomain(
  written: string,
  trustDomains: readonly TrustDomain[],
): readonly string[] {
  return trustDomains.some((member) => member === written) ? trustDomains : [written]
}

function covers(pattern: string, member: string): boolean {
  if (pattern === member || coversAsSuffix(pattern, member)) return true
  return pattern.endsWith('*') && member.startsWith(pattern.slice(0, -1))
}

function coversAsSuffix(pattern: string, member: string): boolean {
  return pattern.startsWith('*') && member.endsWith(pattern.slice(1))
}
