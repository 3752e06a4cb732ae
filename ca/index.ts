export type { CertificateRule } from './attest/certificate-proof.ts'
export type { RotateStep } from './admin/rotate.ts'
export { ROTATE_STEPS } from './admin/rotate.ts'
export type { JoinToken } from './attest/join-token.ts'
export type {
  KubernetesAgent,
  KubernetesConfig,
  ReviewToken,
  TokenVerdict,
} from './attest/kubernetes.ts'
export type { AttestationConfig, CaConfig } from './config.ts'
export { backupLedger, backupState } from './backup/backup-state.ts'
export type { Restored } from './backup/restore.ts'
export { restoreState } from './backup/restore.ts'
export type { CaLog, CaLogReader } from './ca-log.ts'
export { configFaults } from './config.ts'
export type { CaErrorCode } from './error.ts'
export { CaError } from './error.ts'
export { writeBundleDocument } from './federation/document.ts'
export type { FederationStatus } from './federation/keep.ts'
export type { CaFederation, FederationConfig } from './federation/open.ts'
export type { EndpointProfile, Relationship } from './federation/relationship.ts'
export { relationshipFaults } from './federation/relationship.ts'
export type { EndpointConfig } from './federation/serve.ts'
export type { AuditReport } from './issue/audit.ts'
export type { AuditFault } from './issue/audit-page.ts'
export type { KeyStoreConfig, SecretSource } from './keys/open-keys.ts'
export type { Ca, CaDeps } from './open-ca.ts'
export { openCa } from './open-ca.ts'
export { openLogState, openSharedLog } from './open-log-state.ts'
export type { PostgresConfig, SharedLedger } from './postgres/pool.ts'
export type { RecoveredState } from './recover-state.ts'
export { recoverState } from './recover-state.ts'
export type {
  TlsIdentity,
  TlsListener,
  TlsListenOptions,
  VerifiedPeer,
} from './serve/listen-tls.ts'
export type { Subscriber } from './serve/subscribers.ts'
export { listenTls, TLS_GROUPS } from './serve/listen-tls.ts'
