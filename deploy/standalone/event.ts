/** What happens in a running mesh: the event lines of `redoubt up` (design.md §2). */
export type MeshEventKind = 'rotated' | 'applied' | 'rejected' | 'exited' | 'restarted' | 'denied'

export interface MeshEvent {
  /** ISO 8601 instant. */
  readonly time: string
  readonly event: MeshEventKind
  /** `namespace/name`; left out for the mesh's own processes and for manifests. */
  readonly workload?: string
  /** One line for people. */
  readonly detail: string
  /** The same as fields, by event. */
  readonly facts?: Readonly<Record<string, string | number>>
}

/** Tells of an event; the time is the teller's. */
export type Tell = (event: Omit<MeshEvent, 'time'>) => void

/** Those who listen, and a way to tell them. */
export interface EventHub {
  readonly tell: Tell
  /** Calls `listener` at each event until the returned function is called. */
  readonly onEvent: (listener: (event: MeshEvent) => void) => () => void
}

/** @param now - Stamps events. */
export function createEventHub(now: () => Temporal.Instant): EventHub {
  const listeners = new Set<(event: MeshEvent) => void>()
  return {
    tell(event) {
      const stamped = { time: now().toString({ fractionalSecondDigits: 3 }), ...event }
      for (const listener of listeners) listener(stamped)
    },
    onEvent(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}
