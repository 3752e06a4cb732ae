/**
 * What every TLS handshake between sidecars has in common (design.md §2).
 *
 * No resumption in either direction: a resumed handshake shows no certificate, and so nothing that
 * could be judged against the trust bundle of now (users-and-performance §4.3).
 */
import { constants } from 'node:crypto'
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import type { Svid } from '#agent/client/index.ts'

/** Offered and taken, best first: post-quantum hybrid, then what every peer has. */
export const GROUPS = 'X25519MLKEM768:X25519:P-256'

/** AES-128 first: as safe here as AES-256, and a tenth cheaper per record. */
const CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256'

/** What the mesh hop carries, told by ALPN. The names are Istio's. */
export const ALPN = {
  http1: 'istio-http/1.1',
  http2: 'istio-h2',
  /** Opaque TCP. */
  tcp: 'istio',
} as const

/** What any client of HTTP offers (RFC 9113 §3.2, RFC 7301 §6). */
export const FOREIGN_ALPN = { http1: 'http/1.1', http2: 'h2' } as const

/** What a server answers to, in the order it prefers: what says more of what comes is before what says less. */
export const SERVER_ALPN: readonly string[] = [
  ALPN.http1,
  ALPN.http2,
  FOREIGN_ALPN.http2,
  FOREIGN_ALPN.http1,
  ALPN.tcp,
  'istio-peer-exchange',
]

/** Options of a context that shows `svid`, as server or client. */
export function contextOptions(svid: Svid): SecureContextOptions {
  return {
    cert: svid.chainPem,
    key: svid.keyPem,
    // Not the default store, which costs 0.1 ms to load: chains are judged by `verifySvid` alone.
    ca: [],
    ciphers: CIPHERS,
    ecdhCurve: GROUPS,
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    secureOptions: constants.SSL_OP_NO_TICKET,
  }
}

/** A client's context for the newest certificate, made once for each. */
export function clientContexts(): (svid: Svid) => SecureContext {
  let made: { readonly svid: Svid; readonly context: SecureContext } | undefined
  return (svid) => {
    if (made?.svid !== svid) made = { svid, context: createSecureContext(contextOptions(svid)) }
    return made.context
  }
}
