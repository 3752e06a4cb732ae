/** What a resource's newest content is, with a version that is a hash of it. */
import { createHash } from 'node:crypto'

import { type SpiffeId, serviceAccountId } from '#ca/spiffe/index.ts'
import { assembleDestination } from '../assemble/destination.ts'
import type { CasbinRows } from '../assemble/casbin.ts'
import { assembleGateway } from '../assemble/gateway.ts'
import { assembleInbound } from '../assemble/inbound.ts'
import { lookupOf } from '../assemble/lookup.ts'
import type { Intent, WorkloadInstance } from '../model/intent.ts'
import { type KeySets, keySetName } from './key-sets.ts'
import { parseResourceName, type ResourceName } from './resource-name.ts'

/** Destinations whose content is kept at a time. */
const MAX_KEPT = 20_000

/** One state of the world. */
export interface World {
  readonly intent: Intent
  readonly instances: readonly WorkloadInstance[]
  /** Fetched key sets. @default none */
  readonly keySets?: KeySets
  /** Lines that were read from databases. @default none */
  readonly casbinRows?: CasbinRows
}

export interface Content {
  readonly version: string
  readonly body: Buffer
}

export type Lookup =
  | { readonly kind: 'content'; readonly content: Content }
  /** There is no such resource now. */
  | { readonly kind: 'absent' }
  /** It belongs to another account than the caller's. */
  | { readonly kind: 'forbidden' }

export interface Subscriber {
  readonly namespace: string
  readonly workload: string
  /** Proved by its certificate. */
  readonly peer: SpiffeId
}

/**
 * Reads resources of one `world`. Many sidecars share a destination's content, so it is kept for
 * as long as the reader is.
 */
export function createResources({ intent, instances, keySets, casbinRows }: World): {
  readonly read: (name: string, subscriber: Subscriber) => Lookup
} {
  const destinations = new Map<string, Content>()
  const byName = new Map(
    instances.map((instance) => [nameOf(instance.namespace, instance.name), instance]),
  )

  const destination = (client: WorkloadInstance, host: string, port: number): Content => {
    const labels = lookupOf(intent).clientLabelsMatter ? client.labels : {}
    const key = JSON.stringify([client.namespace, labels, host, port])
    const known = destinations.get(key)
    if (known) return known
    const content = contentOf(assembleDestination(intent, instances, client, host, port))
    // Names come from sidecars: one that invents them must not fill the memory.
    if (destinations.size >= MAX_KEPT) destinations.clear()
    destinations.set(key, content)
    return content
  }

  const inbound = (instance: WorkloadInstance): Content =>
    contentOf(
      assembleInbound(intent, instance, (rule) => keySets?.get(keySetName(rule) ?? ''), casbinRows),
    )

  const contentFor = (resource: ResourceName, instance: WorkloadInstance): Content => {
    switch (resource.kind) {
      case 'inbound':
        return inbound(instance)
      case 'gateway':
        return contentOf(assembleGateway(intent, instances, instance))
      case 'destination':
        return destination(instance, resource.host, resource.port)
      default:
        return resource satisfies never
    }
  }

  return {
    read(name, subscriber) {
      const resource = parseResourceName(name)
      if (!resource) return { kind: 'absent' }
      const { namespace, workload } = resource.kind === 'destination' ? subscriber : resource
      const instance = byName.get(nameOf(namespace, workload))
      if (!instance) return { kind: 'absent' }
      if (!mayRead(intent, instance, subscriber.peer)) return { kind: 'forbidden' }
      return { kind: 'content', content: contentFor(resource, instance) }
    },
  }
}

function nameOf(namespace: string, name: string): string {
  return `${namespace}/${name}`
}

/** A workload's configuration is for whoever proves its account, in the mesh's trust domain or an alias. */
function mayRead(
  { mesh }: Intent,
  { namespace, serviceAccount }: WorkloadInstance,
  peer: SpiffeId,
): boolean {
  return [mesh.trustDomain, ...mesh.trustDomainAliases].some(
    (domain) => serviceAccountId(domain, { namespace, serviceAccount }) === peer,
  )
}

function contentOf(bundle: unknown): Content {
  const body = Buffer.from(JSON.stringify(bundle))
  return { version: createHash('sha256').update(body).digest('hex').slice(0, 32), body }
}
