import type { PortProtocol } from './bundle.ts'

/** Words for protocols (§0.7) and what a data plane does with each. */
const PROTOCOLS: Readonly<Record<string, PortProtocol | 'udp'>> = {
  http: 'http',
  // Carried as the HTTP/1.1 or HTTP/2 request that it is; nothing here translates it.
  'grpc-web': 'http',
  http_proxy: 'http',
  http2: 'http2',
  grpc: 'grpc',
  https: 'tls',
  tls: 'tls',
  tcp: 'tcp',
  mongo: 'tcp',
  redis: 'tcp',
  mysql: 'tcp',
  udp: 'udp',
}

const APP_PROTOCOLS: Readonly<Record<string, PortProtocol>> = {
  'kubernetes.io/h2c': 'http2',
  'kubernetes.io/ws': 'http',
  'kubernetes.io/wss': 'tls',
}

/** Ports where the server speaks first, so that detection would wait for ever. */
const SERVER_FIRST = [25, 53, 3306, 27017]

export interface PortDeclaration {
  readonly name: string
  readonly port: number
  /** Transport of a Kubernetes Service, or protocol of a ServiceEntry. */
  readonly protocol?: string | undefined
  readonly appProtocol?: string | undefined
}

/** What a declared port speaks (§0.7): transport UDP, then `appProtocol`, then the name, then detection. */
export function portProtocol(declared: PortDeclaration): PortProtocol | 'udp' {
  const { name, port, protocol = '', appProtocol } = declared
  if (protocol.toLowerCase() === 'udp') return 'udp'
  if (appProtocol !== undefined) {
    const special = APP_PROTOCOLS[appProtocol.toLowerCase()]
    return special ?? protocolFromName(appProtocol) ?? detected(port)
  }
  return protocolFromName(name) ?? detected(port)
}

/** The protocol that `word` is, any case; `undefined` when it is none. */
export function protocolNamed(word: string): PortProtocol | 'udp' | undefined {
  const folded = word.toLowerCase()
  return Object.hasOwn(PROTOCOLS, folded) ? PROTOCOLS[folded] : undefined
}

function protocolFromName(name: string): PortProtocol | 'udp' | undefined {
  const folded = name.toLowerCase()
  if (folded === 'grpc-web' || folded.startsWith('grpc-web-')) return PROTOCOLS['grpc-web']
  return protocolNamed(folded.split('-')[0] ?? '')
}

function detected(port: number): PortProtocol {
  return SERVER_FIRST.includes(port) ? 'tcp' : 'auto'
}
