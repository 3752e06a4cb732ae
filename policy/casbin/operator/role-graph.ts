import { DefaultRoleManager } from 'casbin'
import type { PolicyRow } from './policy-lines.ts'

/** Steps of inheritance that are followed, as Casbin follows by default. */
const MAX_STEPS = 10

/** All that a name inherits, by domain ('' where roles have none) and name. */
type Links = ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>

/**
 * Who has which role. Casbin's own manager walks a hierarchy path by path, which grows with the power of its
 * depth where paths join, and keeps an entry for each domain that it is asked about: a caller could fill
 * our memory with names. This one visits each name once and keeps nothing of what it is asked.
 */
export class RoleGraph extends DefaultRoleManager {
  readonly #links: Links
  readonly #reached = new Map<string, ReadonlySet<string>>()

  /** @param rows - of one role definition: member, role and perhaps a domain */
  constructor(rows: readonly PolicyRow[]) {
    super(MAX_STEPS)
    this.#links = linksOf(rows)
  }

  override syncedHasLink(member: string, role: string, ...domains: string[]): boolean {
    if (member === role) return true
    const links = this.#links.get(domains[0] ?? '')
    if (links?.has(member) !== true) return false
    const key = JSON.stringify([domains[0] ?? '', member])
    const known = this.#reached.get(key) ?? reach(links, member)
    // As many as there are members in lines, and no more.
    this.#reached.set(key, known)
    return known.has(role)
  }
}

function linksOf(rows: readonly PolicyRow[]): Links {
  const links = new Map<string, Map<string, string[]>>()
  for (const [member = '', role = '', domain = ''] of rows) {
    const inDomain = links.get(domain) ?? new Map<string, string[]>()
    links.set(domain, inDomain)
    const roles = inDomain.get(member) ?? []
    inDomain.set(member, roles)
    roles.push(role)
  }
  return links
}

function reach(links: ReadonlyMap<string, readonly string[]>, member: string): ReadonlySet<string> {
  const reached = new Set<string>()
  let edge: readonly string[] = [member]
  for (let steps = 0; steps < MAX_STEPS && edge.length > 0; steps += 1) {
    const next: string[] = []
    for (const role of edge.flatMap((name) => links.get(name) ?? [])) {
      if (reached.has(role)) continue
      reached.add(role)
      next.push(role)
    }
    edge = next
  }
  return reached
}
