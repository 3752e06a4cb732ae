/** As much of `node:crypto`'s `X509Certificate` as the chain needs. */
interface PresentedCertificate {
  readonly raw: Uint8Array
  readonly issuerCertificate?: PresentedCertificate | undefined
}

/** As much of `node:tls`'s `TLSSocket` as the chain needs; this folder imports no sockets. */
export interface PeerSocket {
  readonly getPeerX509Certificate: () => PresentedCertificate | undefined
}

/** Certificates; a peer that sends more is cut off here and refused for an incomplete chain. */
export const MAX_CHAIN = 8

/**
 * The certificates that the peer of a TLS socket presented, DER, leaf first; empty if it sent none.
 *
 * With `rejectUnauthorized: false` this is what the peer sent, put in order by issuer; nothing has
 * been verified. `getPeerCertificate(true)` gives the same but is slower and leaked before Node 24.12.
 */
export function peerChain(socket: PeerSocket): readonly Uint8Array[] {
  const chain: Uint8Array[] = []
  let certificate = socket.getPeerX509Certificate()
  while (certificate && chain.length < MAX_CHAIN) {
    chain.push(certificate.raw)
    certificate = certificate.issuerCertificate
  }
  return chain
}
