/** One part of the semantics: how its manifests are drawn, and requests that meet them. */
import type { Manifest, OracleRequest } from '../cases.ts'
import type { Draw } from './draw.ts'

export interface Area {
  readonly name: string
  readonly draw: (draw: Draw) => AreaSet
}

export interface AreaSet {
  readonly manifests: readonly Manifest[]
  readonly mesh?: Manifest
  /** Headers that the app is to get alike from both. */
  readonly watched?: readonly string[]
  readonly request: () => Omit<OracleRequest, 'id'>
}

/** A resource of `security.istio.io` in namespace `app`. */
export function resource(
  kind: 'AuthorizationPolicy' | 'PeerAuthentication' | 'RequestAuthentication',
  name: string,
  spec: Manifest,
  metadata: Manifest = {},
): Manifest {
  return {
    apiVersion: 'security.istio.io/v1',
    kind,
    metadata: { name, namespace: 'app', ...metadata },
    spec,
  }
}

/** Ports of the workload: HTTP, gRPC, TCP, one that detects, and one that no Service declares. */
export const PORT = { http: 8080, grpc: 8081, tcp: 9000, auto: 7000, undeclared: 5555 } as const
export const PORTS: readonly number[] = Object.values(PORT)

/** What every set has beside its policies. */
export const SERVICE: Manifest = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace: 'app' },
  spec: {
    selector: { app: 'web' },
    ports: [
      { name: 'http', port: 80, targetPort: PORT.http },
      { name: 'grpc', port: 81, targetPort: PORT.grpc },
      { name: 'tcp-x', port: PORT.tcp, targetPort: PORT.tcp },
      { name: 'foo', port: PORT.auto, targetPort: PORT.auto },
    ],
  },
}

export const CALLER = 'spiffe://cluster.local/ns/app/sa/cli'
