export type { KeyKind } from './algorithm.ts'
export type { Certificate } from './certificate.ts'
export { readCertificate, readPublicKey } from './certificate.ts'
export type { VerifiedCsr } from './csr.ts'
export { buildCsr, MAX_CSR_BYTES, verifyCsr } from './csr.ts'
export type {
  DeniablePeer,
  DenyChanges,
  DenyEntry,
  DenyKind,
  DenyList,
  DenyRecord,
  Denies,
} from './deny-list.ts'
export {
  applyDenyChanges,
  compileDenyList,
  denialsInForce,
  denyChangesSince,
  findDenied,
  MAX_DENIALS,
  NO_DENIALS,
  parseDenyEntry,
} from './deny-list.ts'
export type { GeneralName, KeyUsage } from './extensions.ts'
export { KEY_ID_BYTES, keyIdentifier, keyIdOf } from './key-id.ts'
export type { PeerRefusal } from './leaf-rules.ts'
export { OID } from './oid.ts'
export { p256Pkcs8, p256Spki } from './p256.ts'
export type { PeerSocket } from './peer-chain.ts'
export { MAX_CHAIN, peerChain } from './peer-chain.ts'
export type { PemLabel } from './pem.ts'
export { derFromPem, pemFromDer } from './pem.ts'
export type { Life } from './rotation.ts'
export { rotateAt } from './rotation.ts'
export type { PeerVerdict, TrustBundle } from './verify-svid.ts'
export { deniedBy, verifySvid } from './verify-svid.ts'
