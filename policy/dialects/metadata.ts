import { z } from 'zod'

import type { ObjectRef } from '../model/intent.ts'
import { labelNameFault, objectNameFault } from './grammar.ts'
import { fields, text } from './schema.ts'

/** `metadata`, as far as anything here depends on it. */
export interface Metadata extends ObjectRef {
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

/** The wire form that {@link metadataSchema} accepts. */
export interface RawMetadata {
  readonly name: string
  readonly namespace?: string | undefined
  readonly labels?: Readonly<Record<string, string>> | undefined
  readonly annotations?: Readonly<Record<string, string>> | undefined
  readonly creationTimestamp?: string | null | undefined
}

/** Written by the API server and by tools, never by hand; carried through `kubectl get -o yaml`. */
const SERVER_FIELDS = {
  uid: z.string().optional(),
  resourceVersion: z.string().optional(),
  generation: z.number().optional(),
  generateName: z.string().optional(),
  selfLink: z.string().optional(),
  deletionTimestamp: z.string().optional(),
  deletionGracePeriodSeconds: z.number().optional(),
  finalizers: z.array(z.string()).optional(),
  ownerReferences: z.array(z.unknown()).optional(),
  managedFields: z.array(z.unknown()).optional(),
}

/** `metadata` of a kind; `scope` says whether it may name a namespace. */
export function metadataSchema(scope: 'namespaced' | 'cluster'): z.ZodType<RawMetadata> {
  const shape = {
    name: text(objectNameFault),
    labels: z.record(z.string(), z.string()).optional(),
    annotations: z.record(z.string(), z.string()).optional(),
    creationTimestamp: z.iso.datetime({ offset: true }).nullable().optional(),
    ...SERVER_FIELDS,
  }
  if (scope === 'cluster') return fields(shape)
  return fields({ ...shape, namespace: text(labelNameFault).optional() })
}

/** Fills in what `metadata` may leave out. */
export function readMetadata(raw: RawMetadata, scope: 'namespaced' | 'cluster'): Metadata {
  const { name, namespace = 'default', labels = {}, annotations = {}, creationTimestamp } = raw
  const createdAt = creationTimestamp ? instantOf(creationTimestamp) : undefined
  return {
    namespace: scope === 'namespaced' ? namespace : '',
    name,
    ...(createdAt ? { createdAt } : {}),
    labels,
    annotations,
  }
}

/** What is no instant has been reported by the schema, and the object is still judged as a whole. */
function instantOf(written: string): Temporal.Instant | undefined {
  try {
    return Temporal.Instant.from(written)
  } catch {
    return undefined
  }
}

/** The part of `metadata` that an intent object keeps. */
export function refOf({ namespace, name, createdAt }: Metadata): ObjectRef {
  return createdAt === undefined ? { namespace, name } : { namespace, name, createdAt }
}
