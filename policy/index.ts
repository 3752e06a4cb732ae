export { assembleDestination } from './assemble/destination.ts'
export { assembleGateway } from './assemble/gateway.ts'
export type { GatewayPort } from './assemble/gateway-ports.ts'
export { gatewayPortsOf } from './assemble/gateway-ports.ts'
export { assembleInbound } from './assemble/inbound.ts'
export type {
  AuthzCase,
  CaseReading,
  Checker,
  CheckExplanation,
  CheckQuery,
  CheckReason,
  CheckResult,
  QueryProtocol,
} from './check/index.ts'
export type { TokenOutcome, TokenRequest, Tokens, WorkloadExport } from './check/index.ts'
export {
  check,
  createChecker,
  createTokenChecker,
  explain,
  explainWithTokens,
  exportWorkload,
  judgeCase,
  readCase,
  testCase,
} from './check/index.ts'
export type {
  Change,
  CompareOptions,
  Comparison,
  Counterexample,
  Outcome,
  Proof,
  ProveOptions,
  TokenKind,
  Traffic,
} from './compare/index.ts'
export { compareIntents, proveAssertions, replayTraffic } from './compare/index.ts'
export type { Assertion, AssertionsReading, ManifestFile, Manifests } from './dialects/index.ts'
export { createManifestReader, readAssertions, readManifests } from './dialects/index.ts'
export type { PolicyErrorCode } from './error.ts'
export { PolicyError } from './error.ts'
export type {
  AuthorityIntent,
  AuthorizationPolicy,
  DestinationBundle,
  DocumentReport,
  Fault,
  FederationIntent,
  InboundBundle,
  InstancePort,
  Intent,
  Labels,
  Mesh,
  MtlsMode,
  PortProtocol,
  Service,
  ServiceEntry,
  ServicePort,
  Workload,
  WorkloadApp,
  WorkloadInstance,
  WorkloadPort,
} from './model/index.ts'
export { parseDestinationBundle, parseInboundBundle } from './model/index.ts'
export type { CasbinRows } from './assemble/casbin.ts'
export type { CasbinRowsDeps, RowsFault } from './serve/casbin-rows.ts'
export { openCasbinRows } from './serve/casbin-rows.ts'
export type { KeptKeySets, KeySetDeps, KeySets } from './serve/key-sets.ts'
export { fetchKeySet, keySetName, openKeySets } from './serve/key-sets.ts'
export type {
  PolicyEvent,
  PolicyServer,
  PolicyServerDeps,
  ResourceStatus,
  SubscriberStatus,
} from './serve/policy-server.ts'
export { openPolicyServer } from './serve/policy-server.ts'
