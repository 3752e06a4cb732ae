/** What of a changed `Mesh` reaches a CA that runs, and what has to wait for its next start. */
import type { Intent } from '#policy/index.ts'
import { caAuthorityOf, federatedDomainsOf } from './ca-settings.ts'
import type { MeshEvent } from './event.ts'

/** What the CA was told, as JSON. */
export interface CaFacts {
  lives: string
  authority: string
  federated: string
}

/** A mesh whose CA runs. */
export interface FollowedMesh extends CaFacts {
  readonly deps: {
    readonly cwd: string
    readonly tell: (event: Pick<MeshEvent, 'event' | 'detail'>) => void
  }
  readonly control: { readonly callCas: (name: string, body?: unknown) => Promise<void> }
}

export function caFacts(intent: Intent, cwd: string): CaFacts {
  return {
    lives: JSON.stringify(intent.mesh.certificates),
    authority: JSON.stringify(caAuthorityOf(intent, cwd)),
    federated: JSON.stringify(federatedDomainsOf(intent, cwd)),
  }
}

/** Tells, once, of changes that the CA cannot follow while it runs. */
export function tellUnfollowed(running: FollowedMesh, intent: Intent): void {
  const { lives, authority } = caFacts(intent, running.deps.cwd)
  const changed = [
    ...(lives === running.lives ? [] : ['certificate lives']),
    ...(authority === running.authority ? [] : ['certificate authority']),
  ]
  if (changed.length === 0) return
  Object.assign(running, { lives, authority })
  const what = changed.join(' and the ')
  const detail = `the ${what} of the Mesh have changed: they hold from the next start on`
  running.deps.tell({ event: 'rejected', detail })
}

/** Whoever is federated with no longer is trusted no longer, at once. */
export async function federate(running: FollowedMesh, intent: Intent): Promise<void> {
  const { cwd } = running.deps
  const { federated } = caFacts(intent, cwd)
  if (federated === running.federated) return
  await running.control.callCas('federate', federatedDomainsOf(intent, cwd))
  running.federated = federated
}
