/** CustomResourceDefinitions from the same schemas: structural, as `apiextensions.k8s.io/v1` wants them. */
import type { Kind } from '../dialects/kind.ts'
import { type JsonSchema, schemaOf } from './json-schema.ts'

/** What a definition says beside the schema (istio-semantics §0.1). The first version served is the one stored. */
interface Naming {
  readonly plural: string
  readonly shortName?: string
  readonly stored?: string
}

const NAMES: Readonly<Record<string, Naming>> = {
  AuthorizationPolicy: { plural: 'authorizationpolicies', shortName: 'ap' },
  PeerAuthentication: { plural: 'peerauthentications', shortName: 'pa' },
  RequestAuthentication: { plural: 'requestauthentications', shortName: 'ra' },
  VirtualService: { plural: 'virtualservices', shortName: 'vs' },
  DestinationRule: { plural: 'destinationrules', shortName: 'dr' },
  Gateway: { plural: 'gateways', shortName: 'gw' },
  ServiceEntry: { plural: 'serviceentries', shortName: 'se' },
  Sidecar: { plural: 'sidecars' },
  WorkloadEntry: { plural: 'workloadentries', shortName: 'we' },
  WorkloadGroup: { plural: 'workloadgroups', shortName: 'wg' },
  ProxyConfig: { plural: 'proxyconfigs' },
  Telemetry: { plural: 'telemetries', shortName: 'telemetry', stored: 'v1alpha1' },
  Mesh: { plural: 'meshes' },
  Workload: { plural: 'workloads' },
  CasbinPolicy: { plural: 'casbinpolicies' },
}

/** Whether the kind is one that a cluster learns from a definition: Namespace and Service are Kubernetes' own. */
export function isCustom({ group }: Pick<Kind, 'group'>): boolean {
  return group !== ''
}

/**
 * The definition of `kind`.
 *
 * @throws {RangeError} for a kind that has no row in the table of names
 */
export function crdOf(kind: Kind): JsonSchema {
  const naming = NAMES[kind.kind]
  if (naming === undefined) {
    throw new RangeError(`Cannot define ${kind.kind}: policy/publish/crd.ts has no plural for it`)
  }
  const { plural, shortName, stored = kind.versions[0] } = naming
  const openAPIV3Schema = definitionOf(kind)
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${kind.group}` },
    spec: {
      group: kind.group,
      scope: kind.scope === 'cluster' ? 'Cluster' : 'Namespaced',
      names: {
        kind: kind.kind,
        listKind: `${kind.kind}List`,
        plural,
        singular: kind.kind.toLowerCase(),
        ...(shortName === undefined ? {} : { shortNames: [shortName] }),
        categories: kind.group === 'redoubt.io' ? ['redoubt-io'] : ['istio-io'],
      },
      versions: kind.versions.map((name) => ({
        name,
        served: true,
        storage: name === stored,
        subresources: { status: {} },
        schema: { openAPIV3Schema },
        additionalPrinterColumns: [
          { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
        ],
      })),
    },
  }
}

const ANYTHING: JsonSchema = { 'x-kubernetes-preserve-unknown-fields': true }

function definitionOf(kind: Kind): JsonSchema {
  const { spec } = schemaOf(kind)['properties'] as Readonly<Record<string, JsonSchema>>
  return {
    type: 'object',
    properties: {
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      metadata: { type: 'object' },
      spec: structural(spec ?? ANYTHING),
      status: { type: 'object', ...ANYTHING },
    },
  }
}

/** Kept as they are: the API server reads them as JSON Schema does. */
const KEPT = [
  'type',
  'description',
  'enum',
  'pattern',
  'required',
  'minimum',
  'maximum',
  'minItems',
  'maxItems',
  'minLength',
  'maxLength',
  'minProperties',
  'maxProperties',
]

/**
 * A structural schema: every level has one type, fields that are not named are pruned rather than
 * forbidden, and a choice of types is `int-or-string` or anything.
 */
export function structural(schema: JsonSchema): JsonSchema {
  const choices = schema['anyOf'] as readonly JsonSchema[] | undefined
  if (choices !== undefined) return choice(schema, choices)
  if (Array.isArray(schema['type'])) {
    const { type, ...rest } = schema as { readonly type: readonly string[] }
    return choice(
      schema,
      type.map((one) => ({ ...rest, type: one })),
    )
  }
  if (schema['type'] === undefined) return withDescription(schema, ANYTHING)
  const kept = Object.fromEntries(
    KEPT.flatMap((key) => (schema[key] === undefined ? [] : [[key, schema[key]]])),
  )
  const { const: only, exclusiveMinimum, format, items, properties, additionalProperties } = schema
  return {
    ...kept,
    ...(only === undefined ? {} : { enum: [only] }),
    ...(typeof exclusiveMinimum === 'number'
      ? { minimum: exclusiveMinimum, exclusiveMinimum: true }
      : {}),
    ...(format === 'date-time' ? { format } : {}),
    ...(schema['type'] === 'array' ? { items: structural((items ?? {}) as JsonSchema) } : {}),
    ...(properties === undefined ? {} : { properties: eachOf(properties as never) }),
    ...(typeof additionalProperties === 'object' && properties === undefined
      ? { additionalProperties: structural(additionalProperties as JsonSchema) }
      : {}),
  }
}

function eachOf(properties: Readonly<Record<string, JsonSchema>>): JsonSchema {
  const entries = Object.entries(properties).map(([name, one]) => [name, structural(one)])
  return Object.fromEntries(entries)
}

function choice(schema: JsonSchema, choices: readonly JsonSchema[]): JsonSchema {
  const others = choices.filter(({ type }) => type !== 'null')
  const types = new Set(others.map(({ type }) => type))
  const [first] = others
  if (others.length === 1 && first !== undefined) {
    return { ...withDescription(schema, structural(first)), nullable: true }
  }
  if (others.every(isWhole)) return withDescription(schema, { type: 'integer' })
  const isPort = types.size === 2 && types.has('integer') && types.has('string')
  return withDescription(schema, isPort ? { 'x-kubernetes-int-or-string': true } : ANYTHING)
}

function isWhole({ type, const: only }: JsonSchema): boolean {
  return type === 'integer' || (type === 'number' && Number.isInteger(only))
}

function withDescription({ description }: JsonSchema, rest: JsonSchema): JsonSchema {
  return description === undefined ? rest : { description, ...rest }
}
