/** What comes on the policy stream, put in force; what does not compile is refused and changes nothing. */
import type { Clock } from '#core/clock.ts'
import type { Log } from '#core/log.ts'
import type { CompileMemory } from '#policy/casbin/index.ts'
import { BUNDLE_FORMAT } from '#policy/model/index.ts'
import type { CompiledGateway } from '../gateway/compile.ts'
import { compileInbound, prepareDestination } from './compile.ts'
import type { CompiledInbound } from './compiled.ts'
import type { Destinations } from './destinations.ts'
import type { Resource } from './resource.ts'
import type { Received, Refusal } from './wire.ts'

export interface ApplyDeps {
  readonly now: () => Temporal.Instant
  readonly clock: Clock
  /** Numbers in [0, 1). */
  readonly random: () => number
  readonly log: Log
}

/** Where what comes belongs. */
export interface Table {
  readonly inbound: Resource<CompiledInbound>
  /** Only of a gateway. */
  readonly gateway: Resource<CompiledGateway> | undefined
  readonly destinations: Destinations
  /** What the last generation compiled. */
  readonly memory: CompileMemory
  /** The keys of an issuer are not all there. */
  readonly onKeysWanted: (issuer: string) => void
}

/** Takes one response; returns what of it was refused, and why. */
export async function applyAll(
  { resources, removed }: Received,
  table: Table,
  deps: ApplyDeps,
): Promise<readonly Refusal[]> {
  const refused: Refusal[] = []
  for (const resource of resources) {
    const refusal = await apply(resource, table, deps)
    if (refusal !== undefined) refused.push(refusal)
  }
  for (const name of removed) await remove(name, table, deps)
  return refused
}

type ReceivedResource = Received['resources'][number]

async function apply(
  resource: ReceivedResource,
  table: Table,
  deps: ApplyDeps,
): Promise<Refusal | undefined> {
  const { name, version } = resource
  const known =
    [table.inbound, table.gateway].find((one) => one?.name === name) ??
    table.destinations.find(name)
  // Unsubscribed while it was on its way.
  if (known === undefined) return undefined
  known.desired = version
  try {
    if (known === table.inbound) {
      const { memory, onKeysWanted } = table
      const compiled = await compileInbound(resource.body, version, {
        now: deps.now,
        memory,
        onKeysWanted,
      })
      table.inbound.put(compiled, version)
    } else if (known === table.gateway) await putGateway(resource, known, deps)
    else await putDestination(resource, table, deps)
    deps.log('info', 'policy-applied', { name, version })
    return undefined
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    known.rejected = { version, reason }
    deps.log('warn', 'policy-rejected', { name, version, reason })
    return { name, version, reason }
  }
}

async function putDestination(
  resource: ReceivedResource,
  { destinations }: Table,
  { clock, random }: ApplyDeps,
): Promise<void> {
  const known = destinations.find(resource.name)
  if (known === undefined) return
  const prepared = await prepareDestination(resource, known.live.current, {
    nowMs: () => clock.nowMs(),
    random,
  })
  prepared.commit()
  known.put(prepared.compiled, resource.version)
}

/** Most sidecars are no gateway, and then nothing of one is loaded. */
async function putGateway(
  resource: ReceivedResource,
  known: Resource<CompiledGateway>,
  { clock, random }: ApplyDeps,
): Promise<void> {
  const { prepareGateway } = await import('../gateway/compile.ts')
  const deps = { nowMs: () => clock.nowMs(), random }
  const prepared = await prepareGateway(resource, known.live.current, deps)
  prepared.commit()
  known.put(prepared.compiled, resource.version)
}

const UNKNOWN = new TextEncoder().encode(JSON.stringify({ format: BUNDLE_FORMAT, kind: 'unknown' }))

/**
 * A destination that no longer exists is a host that nobody knows. The inbound bundle of a workload
 * that is running is never taken away: without it the app would be out of reach, not safer.
 */
async function remove(name: string, table: Table, deps: ApplyDeps): Promise<void> {
  if (table.destinations.find(name) === undefined) return
  await putDestination({ name, version: '', body: UNKNOWN }, table, deps)
}
