export type { JoinToken } from './attest/join-token.ts'
export type { CaConfig } from './config.ts'
export { configFaults } from './config.ts'
export type { CaErrorCode } from './error.ts'
export { CaError } from './error.ts'
export type { Ca, CaDeps } from './open-ca.ts'
export { openCa } from './open-ca.ts'
export type {
  TlsIdentity,
  TlsListener,
  TlsListenOptions,
  VerifiedPeer,
} from './serve/listen-tls.ts'
export { listenTls, TLS_GROUPS } from './serve/listen-tls.ts'
