import type { SpiffeId } from '#ca/spiffe/index.ts'

/** What is known once a peer's connection is accepted. */
export interface Connection {
  /** The peer's verified identity; `undefined` on plaintext. */
  readonly peer: SpiffeId | undefined
  /** Source address of the TCP connection, never from a header: IPv4 dotted or IPv6, no port. */
  readonly sourceIp: string
  readonly destinationIp: string
  /** The workload port, 1..65535. */
  readonly destinationPort: number
  /** SNI that the client sent, lower-cased; `undefined` without TLS or SNI. */
  readonly sni: string | undefined
}

/** A token's claims, after verification. */
export type Claims = Readonly<Record<string, unknown>>

/** What an HTTP request adds. Read lazily: a decision reads only what its rules name. */
export interface HttpAttributes {
  /** Upper-case token. */
  readonly method: string
  /** Normalised path, without query or fragment. */
  readonly path: string
  /** `Host`/`:authority` as sent, port included; `undefined` when absent. */
  readonly host: string | undefined
  /** Client address after trusted `X-Forwarded-For` hops. */
  readonly remoteIp: string
  /** Values of each line of header `name` (lower case), in order, joined where §0.8.17 joins; empty when absent. */
  readonly header: (name: string) => readonly string[]
  /** Claims of the verified token; `undefined` without one. */
  readonly claims: Claims | undefined
}
