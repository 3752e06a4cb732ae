import type { PolicyEvent } from '#policy/index.ts'
import type { MeshEvent } from './event.ts'

/** An event of the policy server as one of the mesh; `undefined` for comings and goings. */
export function meshEventOf({
  kind,
  workload,
  name = '',
  version = '',
  reason,
}: PolicyEvent): Omit<MeshEvent, 'time'> | undefined {
  if (kind !== 'applied' && kind !== 'rejected') return undefined
  const why = reason === undefined ? '' : `: ${reason}`
  return {
    event: kind,
    workload,
    detail: `${name} ${version}${why}`,
    facts: { resource: name, version },
  }
}
