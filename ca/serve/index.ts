export type { TlsIdentity, TlsListener, TlsListenOptions, VerifiedPeer } from './listen-tls.ts'
export { listenTls, TLS_GROUPS } from './listen-tls.ts'
