/** What a connection to a guarded port speaks, as Istio's listener tells it (istio-semantics §0.7, §2.4). */
import type { MtlsMode, PortProtocol } from '#policy/model/index.ts'
import { readClientHello } from './client-hello.ts'
import { startsLikePreface } from './detect.ts'

export type InboundDetected =
  /** TLS of another sidecar: it offers one of the mesh's protocols. */
  | { readonly kind: 'mesh-tls' }
  /** TLS of anybody else, `sni` in lower case. */
  | { readonly kind: 'foreign-tls'; readonly sni: string | undefined }
  | { readonly kind: 'http' }
  | { readonly kind: 'http2' }
  | { readonly kind: 'opaque' }

/** Bytes within which a connection must show what it is; else it is `opaque`. */
export const MAX_INBOUND_PEEK = 65_536

/** What sidecars offer each other by ALPN (§2.4). */
const MESH_ALPN = new Set([
  'istio',
  'istio-peer-exchange',
  'istio-http/1.0',
  'istio-http/1.1',
  'istio-h2',
])

/**
 * A detector for one port that takes plaintext. It asks for no more bytes than it needs: on a port that
 * says what it speaks, a few tell plaintext from TLS, and HTTP/2 by its preface from HTTP/1.
 */
export function inboundDetector({
  mtls,
  protocol,
}: {
  readonly mtls: MtlsMode
  readonly protocol: PortProtocol
}): (bytes: Buffer) => InboundDetected | 'need-more' {
  return (bytes) => {
    if (mtls === 'PERMISSIVE') {
      const hello = readClientHello(bytes)
      if (hello === 'need-more') return hello
      if (hello !== 'not-tls') {
        if (hello.alpn.some((name) => MESH_ALPN.has(name))) return { kind: 'mesh-tls' }
        return { kind: 'foreign-tls', sni: hello.sni?.toLowerCase() }
      }
    }
    switch (protocol) {
      case 'tcp':
      case 'tls':
        return { kind: 'opaque' }
      case 'http':
      case 'http2':
      case 'grpc':
        return readPreface(bytes, 'http')
      case 'auto':
        return readPreface(bytes, 'look')
      default:
        return protocol satisfies never
    }
  }
}

const PREFACE_BYTES = 16

function readPreface(bytes: Buffer, otherwise: 'http' | 'look'): InboundDetected | 'need-more' {
  if (startsLikePreface(bytes)) {
    return bytes.length < PREFACE_BYTES ? 'need-more' : { kind: 'http2' }
  }
  return otherwise === 'http' ? { kind: 'http' } : readRequestLine(bytes)
}

const LF = 0x0a
/** Any method, lower case too: what is wrong with it the codec says. HTTP/1.0 is not looked for. */
const REQUEST_LINE = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+ +[^ ]+ +HTTP\/1\.1\r?$/
const METHOD_SO_FAR = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+( |$)/

/** HTTP/1.1 is told by its whole first line; what cannot become one is opaque at once. */
function readRequestLine(bytes: Buffer): InboundDetected | 'need-more' {
  const lineEnd = bytes.indexOf(LF)
  if (lineEnd >= 0) {
    const line = bytes.toString('latin1', 0, lineEnd)
    return { kind: REQUEST_LINE.test(line) ? 'http' : 'opaque' }
  }
  return METHOD_SO_FAR.test(bytes.toString('latin1', 0, 64)) ? 'need-more' : { kind: 'opaque' }
}
