/** A manifest kind: one schema, and what its objects become. */
import { z } from 'zod'

import type {
  AuthorizationIntent,
  CasbinPolicy,
  ConfigMap,
  Mesh,
  Namespace,
  PeerAuthentication,
  Secret,
  Service,
  ServiceEntry,
  Workload,
} from '../model/intent.ts'
import type { Gateway } from '../model/gateway.ts'
import type { RequestAuthentication } from '../model/request-authentication.ts'
import type { DestinationRule, VirtualService } from '../model/traffic.ts'
import { ISTIO_DRY_RUN, REDOUBT_DRY_RUN } from './dry-run.ts'
import { type Metadata, metadataSchema, type RawMetadata, readMetadata } from './metadata.ts'
import type { PathKey } from './pointer.ts'
import { notCarriedOut } from './carried-out.ts'
import { type Finding, fields, type Report } from './schema.ts'

/** Where in the intent an object goes. */
export interface Placed {
  readonly mesh: Mesh
  readonly namespaces: Namespace
  readonly services: Service
  readonly serviceEntries: ServiceEntry
  readonly workloads: Workload
  readonly authorizationPolicies: AuthorizationIntent
  readonly peerAuthentications: PeerAuthentication
  readonly requestAuthentications: RequestAuthentication
  readonly virtualServices: VirtualService
  readonly destinationRules: DestinationRule
  readonly gateways: Gateway
  readonly configMaps: ConfigMap
  readonly secrets: Secret
  readonly casbinPolicies: CasbinPolicy
}

export type Placement = {
  readonly [K in keyof Placed]: { readonly into: K; readonly value: Placed[K] }
}[keyof Placed]

export interface Warning {
  readonly path: readonly PathKey[]
  readonly message: string
}

/** One object of a kind, checked against its schema. */
export interface Manifest<Spec> {
  readonly metadata: Metadata
  readonly spec: Spec
  /** Path of the file it stands in. */
  readonly file: string
}

/** A kind, its spec's type forgotten. */
export interface Kind {
  readonly group: string
  /** Served versions, the preferred one first. */
  readonly versions: readonly string[]
  readonly kind: string
  readonly scope: 'namespaced' | 'cluster'
  /** Of the whole document. */
  readonly schema: z.ZodType
  /** Only for a value that `schema` accepts and of which `unsupported` says nothing. */
  readonly place: (value: unknown, file: string) => Placement
  /** What is valid and not carried out. Only for a value that `schema` accepts. */
  readonly unsupported: (value: unknown) => readonly Finding[]
  /** What is legal but probably not meant. Only for a value that `schema` accepts. */
  readonly warnings: (value: unknown, file: string) => readonly Warning[]
}

export interface KindDefinition<Raw extends z.ZodType> {
  readonly group: string
  readonly versions: readonly string[]
  readonly kind: string
  readonly scope?: 'namespaced' | 'cluster'
  /** `spec`, or its optional form where a manifest may leave it out. */
  readonly spec: Raw
  /** Whether the fields of `spec`, an object, stand beside `metadata` instead of below `spec`. @default false */
  readonly flat?: boolean
  /** What the object as a whole must satisfy; paths are from the document. */
  readonly check?: (manifest: Manifest<z.output<Raw>>, report: Report) => void
  readonly warn?: (manifest: Manifest<z.output<Raw>>) => readonly Warning[]
  /** What its objects become; a string instead says what to use, for a kind that is only checked. */
  readonly place: ((manifest: Manifest<z.output<Raw>>) => Placement) | string
}

interface RawManifest<Spec> {
  readonly metadata: RawMetadata
  readonly spec: Spec
}

/** Annotations that Istio's webhook refuses on every kind (§0.2). */
const RESERVED_ANNOTATIONS = [
  'internal.istio.io/webhook-always-reject',
  'internal.istio.io/parents',
  'internal.istio.io/parent-namespace',
]

/** Completes `definition` with what every document has. */
export function defineKind<Raw extends z.ZodType>(definition: KindDefinition<Raw>): Kind {
  const { group, versions, kind, scope = 'namespaced', spec, check, warn, place } = definition
  const { flat = false } = definition
  const manifestOf = (value: unknown, file: string): Manifest<z.output<Raw>> => {
    const raw = value as RawManifest<z.output<Raw>>
    const body = flat ? (value as z.output<Raw>) : raw.spec
    return { metadata: readMetadata(raw.metadata, scope), spec: body, file }
  }
  const schema = fields(
    {
      apiVersion: z.string(),
      kind: z.literal(kind),
      metadata: metadataSchema(scope),
      ...(flat && spec instanceof z.ZodObject ? spec.shape : { spec }),
      status: z.unknown().optional(),
    },
    {
      check: (value, report) => {
        const manifest = manifestOf(value, '')
        checkAnnotations(manifest.metadata, kind, report)
        check?.(manifest, report)
      },
    },
  )
  return {
    group,
    versions,
    kind,
    scope,
    schema,
    place: (value, file) => {
      if (typeof place === 'string')
        throw new TypeError(`Cannot place a ${kind}: it is only checked`)
      return place(manifestOf(value, file))
    },
    unsupported: (value) =>
      typeof place === 'string'
        ? [{ path: ['kind'], message: `no mesh carries out a ${kind} yet`, hint: place }]
        : notCarriedOut(schema, value),
    warnings: (value, file) => warn?.(manifestOf(value, file)) ?? [],
  }
}

function checkAnnotations({ annotations }: Metadata, kind: string, report: Report): void {
  for (const key of RESERVED_ANNOTATIONS) {
    if (Object.hasOwn(annotations, key)) {
      report(['metadata', 'annotations', key], 'the annotation is reserved for generated objects')
    }
  }
  if (kind !== 'AuthorizationPolicy' && Object.hasOwn(annotations, ISTIO_DRY_RUN)) {
    const instead = kind === 'PeerAuthentication' ? `; here it is ${REDOUBT_DRY_RUN}` : ''
    report(
      ['metadata', 'annotations', ISTIO_DRY_RUN],
      `the annotation is for AuthorizationPolicy only${instead}`,
    )
  }
  if (kind !== 'PeerAuthentication' && Object.hasOwn(annotations, REDOUBT_DRY_RUN)) {
    const instead = kind === 'AuthorizationPolicy' ? `; here it is ${ISTIO_DRY_RUN}` : ''
    report(
      ['metadata', 'annotations', REDOUBT_DRY_RUN],
      `the annotation is for PeerAuthentication only${instead}`,
    )
  }
}
