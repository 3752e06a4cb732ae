export { blockHas, readAddress, readBlock, readSocketAddress } from './address.ts'
export type { Claims, Connection, HttpAttributes } from './attempt.ts'
export type {
  Action,
  AuthorizationPolicy,
  Condition,
  Operation,
  Rule,
  Source,
} from './authorization.ts'
export type {
  ClaimMatch,
  Cluster,
  ConnectionPool,
  DestinationBundle,
  Endpoint,
  HeaderOperations,
  InboundBundle,
  InboundPort,
  LoadBalancing,
  MtlsDryRun,
  MtlsMode,
  OutlierDetection,
  PathNormalization,
  PortProtocol,
  RetryPolicy,
  Route,
  RouteAction,
  RouteHeaders,
  RouteMatch,
  ServiceRef,
  TextMatch,
  WeightedDestination,
  WorkloadRef,
} from './bundle.ts'
export { BUNDLE_FORMAT } from './bundle.ts'
export { mayBeAuthority } from './authority.ts'
export { clientAddress } from './client-address.ts'
export type {
  Allowed,
  AskProvider,
  Decide,
  Decision,
  Denied,
  DryRunResult,
  Engine,
  Permit,
} from './decision.ts'
export { mintPermit } from './decision.ts'
export { createMtlsDryRun } from './mtls-dry-run.ts'
export type { TellMtlsDryRun } from './mtls-dry-run.ts'
export type {
  Authorizer,
  CasbinDecider,
  CheckedBody,
  ExtensionProvider,
  GrpcAuthorizer,
  HttpAuthorizer,
  NamePattern,
  ServiceProvider,
} from './extension-provider.ts'
export type { PolicyErrorCode } from '../error.ts'
export { PolicyError } from '../error.ts'
export type {
  Gateway,
  GatewayBundle,
  GatewayListener,
  GatewayServer,
  GatewayTls,
  PemSource,
  ServerHost,
  ServerIntent,
  VirtualHost,
} from './gateway.ts'
export {
  cookieOfCrumbs,
  headerValues,
  impliedHeader,
  isHiddenHeader,
  isPseudoHeader,
  pseudoHeader,
} from './header-lines.ts'
export type {
  AuthorizationIntent,
  CasbinPolicy,
  CertificateLives,
  ConfigMap,
  DocumentReport,
  ExportTo,
  Fault,
  InstancePort,
  Intent,
  Labels,
  Mesh,
  NamedProvider,
  Namespace,
  ObjectRef,
  PeerAuthentication,
  PostgresSource,
  ProxyPorts,
  ReadinessProbe,
  Service,
  ServiceEntry,
  ServiceEntryEndpoint,
  ServicePort,
  Workload,
  WorkloadApp,
  WorkloadInstance,
  WorkloadPort,
} from './intent.ts'
export type { AuthorityIntent, FederationIntent } from './mesh-authority.ts'
export { isKnownMethod, KNOWN_METHODS } from './method.ts'
export type { NormalizedPath, PathRefusal } from './path.ts'
export { isAmbiguousPath, normalizePath, withoutPathParameters } from './path.ts'
export { decisionWithParameters } from './path-parameters.ts'
export {
  MAX_BUNDLE_BYTES,
  parseDestinationBundle,
  parseGatewayBundle,
  parseInboundBundle,
} from './read-bundle.ts'
export type { TokenKeys, TokenRule } from './token-rule.ts'
export type {
  ClaimOutput,
  JwtRule,
  RequestAuthentication,
  TokenHeader,
} from './request-authentication.ts'
export type {
  DestinationRule,
  HttpAction,
  HttpDestination,
  HttpMatch,
  HttpRoute,
  PortTrafficPolicy,
  RetryIntent,
  Subset,
  TrafficPolicy,
  VirtualService,
} from './traffic.ts'
