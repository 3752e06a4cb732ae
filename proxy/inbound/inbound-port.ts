import type { Authenticate } from '#ca/jwt/request/index.ts'
import {
  type Connection,
  createMtlsDryRun,
  type Decide,
  type Engine,
  type InboundBundle,
  type MtlsMode,
  type PortProtocol,
  type ServiceRef,
  type TellMtlsDryRun,
} from '#policy/model/index.ts'
import type { Providers } from '../authorizer/providers.ts'

/** One version of what a sidecar guards its app by; a change is a new object. */
export interface InboundConfiguration {
  readonly bundle: InboundBundle
  readonly version: string
  readonly engine: Engine
  /** Verifies tokens; `undefined`: the workload has no RequestAuthentication. */
  readonly authenticate: Authenticate | undefined
  /** Whom policies ask; `undefined`: nobody is there to be asked. */
  readonly providers: Providers | undefined
}

/** What holds for one port in one version of the configuration. */
export interface PortRules {
  readonly configuration: InboundConfiguration
  readonly mtls: MtlsMode
  readonly protocol: PortProtocol
  readonly service: ServiceRef | undefined
  /** Whether some policy asks an external provider. */
  readonly asksProviders: boolean
  /** `undefined`: no PeerAuthentication is tried out here. */
  readonly mtlsDryRun: TellMtlsDryRun | undefined
}

/** Decides what comes on one connection to the port. */
export function deciderOf(
  { configuration, mtlsDryRun }: PortRules,
  connection: Connection,
): Decide {
  const decide = configuration.engine(connection)
  return mtlsDryRun === undefined ? decide : mtlsDryRun(decide, connection)
}

/** Whether the port is declared to take HTTP: TLS that is not the mesh's has nowhere to go there (§2.4). */
export function isHttpPort({ protocol }: Pick<PortRules, 'protocol'>): boolean {
  return protocol === 'http' || protocol === 'http2' || protocol === 'grpc'
}

/** Whether the app behind the port speaks HTTP/2 to whom speaks it: else each request is put to it as HTTP/1. */
export function isHttp2App({ protocol }: Pick<PortRules, 'protocol'>): boolean {
  return protocol !== 'http'
}

/**
 * The rules of `port`, looked up again only when the configuration is another. A port that no Service
 * declares has the workload's mode and finds its protocol out (istio-semantics §2.4).
 */
export function rulesOfPort(
  port: number,
  current: () => InboundConfiguration | undefined,
): () => PortRules | undefined {
  let rules: PortRules | undefined
  return () => {
    const configuration = current()
    if (configuration === rules?.configuration) return rules
    rules = configuration && readRules(configuration, port)
    return rules
  }
}

function readRules(configuration: InboundConfiguration, port: number): PortRules {
  const { bundle } = configuration
  const declared = bundle.ports.find((candidate) => candidate.port === port)
  const tried = declared === undefined ? bundle.mtlsDryRun : declared.mtlsDryRun
  return {
    configuration,
    mtls: declared?.mtls ?? bundle.mtls,
    mtlsDryRun: tried && createMtlsDryRun(tried),
    protocol: declared?.protocol ?? 'auto',
    service: declared?.service,
    asksProviders: bundle.authorization.some(
      ({ action, dryRun }) => action === 'CUSTOM' && !dryRun,
    ),
  }
}
