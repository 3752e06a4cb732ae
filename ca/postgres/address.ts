/** Where a PostgreSQL server is. */
export interface PostgresAddress {
  readonly host: string
  readonly port: number
  readonly user?: string
  readonly database?: string
  /** Whether the connection is TLS, and the server verified: unless `sslmode=disable` says otherwise. */
  readonly isTls: boolean
}

/**
 * An address from its URL, `postgres://user@host:port/database`; `host` in the query may be the folder
 * of a Unix socket. `undefined` if it is none. What else its query says is not taken.
 */
export function parseAddress(text: string): PostgresAddress | undefined {
  const url = URL.parse(text)
  if (!url || !/^postgres(ql)?:$/.test(url.protocol)) return undefined
  const folder = url.searchParams.get('host')
  const [user, database] = [decode(url.username), decode(url.pathname.slice(1))]
  return {
    host: folder ?? (url.hostname.replace(/^\[|\]$/g, '') || 'localhost'),
    port: Number(url.port || 5432),
    ...(user !== '' && { user }),
    ...(database !== '' && { database }),
    isTls: folder === null && url.searchParams.get('sslmode') !== 'disable',
  }
}

/** As much of an address as may be told: no user, no password. */
export function placeOf(text: string): string {
  const address = parseAddress(text)
  if (!address) return 'an address that is none'
  return `${address.host}:${address.port}/${address.database ?? ''}`
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text // a percent sign that means itself
  }
}
