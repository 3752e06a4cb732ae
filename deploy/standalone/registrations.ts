import type { Child } from './child.ts'
import type { RegisteredProcess } from './messages.ts'

/** Who is who among the processes that the supervisor started, for the agent. */
export interface Registrations {
  /** Replaces the process of that name. */
  readonly set: (name: string, child: Child, spiffeId: string) => void
  readonly remove: (name: string) => void
  readonly list: () => readonly RegisteredProcess[]
}

/** @param tell - Tells the agent; it may be down, and is then told everything when it is back. */
export function createRegistrations(
  tell: (list: readonly RegisteredProcess[]) => Promise<unknown>,
): Registrations {
  const processes = new Map<string, RegisteredProcess>()
  const list = (): readonly RegisteredProcess[] => [...processes.values()]
  const changed = (): void => {
    tell(list()).catch(() => {}) // It is being restarted with the whole list.
  }
  return {
    list,
    set(name, { pid, startTime }, spiffeId) {
      processes.set(name, { pid, startTime, spiffeId })
      changed()
    },
    remove(name) {
      if (processes.delete(name)) changed()
    },
  }
}
