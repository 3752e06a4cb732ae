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
  Cluster,
  ConnectionPool,
  DestinationBundle,
  Endpoint,
  HeaderOperations,
  InboundBundle,
  InboundPort,
  LoadBalancing,
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
