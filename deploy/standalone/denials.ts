/** The CA's deny-list, as its process tells the supervisor and that the owner's commands. */
import {
  compileDenyList,
  type DenyList,
  denialsInForce,
  type Denies,
  parseDenyEntry,
} from '#ca/x509/index.ts'

/** An entry of the list. */
export interface ToldDenial {
  readonly kind: string
  readonly value: string
  /** RFC 3339. */
  readonly until: string
}

/** What is denied at `now`. */
export function toldDenials(list: DenyList, now: Temporal.Instant): readonly ToldDenial[] {
  return denialsInForce(list, now).map(({ until, ...entry }) => ({
    ...entry,
    until: until.toString(),
  }))
}

/** What was told, to judge by. @throws {CaError} `CA_DENIAL_INVALID` if it is no deny-list */
export function deniesOf(told: readonly ToldDenial[]): Denies | undefined {
  const entries = told.map(({ until, ...entry }) => {
    const denied = parseDenyEntry({ ...entry, until: Temporal.Instant.from(until) })
    return { ...denied, generation: 1, lifted: false }
  })
  return compileDenyList({ generation: 1, entries })
}
