/** What CAs on one database tell each other of those who follow them. */
import type { Subscriber } from './subscribers.ts'

/** One agent, by the stream that speaks for it, with the processes behind it. */
export interface BoardRow {
  /** Which agent: it is on the board once, wherever it is connected. */
  readonly agent: string
  /** Which stream of which CA. */
  readonly stream: string
  /** When that was opened, epoch milliseconds: the newer one speaks for the agent. */
  readonly openedAt: number
  readonly connected: boolean
  /** Epoch milliseconds: one that is away is forgotten then. */
  readonly until: number
  readonly subscribers: readonly Subscriber[]
}

/** One of the CAs on a database. */
export interface ReplicaStatus {
  /** `host:port` of its listener. */
  readonly address: string
  readonly startedAt: Temporal.Instant
  /** When it last said that it is there. */
  readonly seenAt: Temporal.Instant
  /** Whether that is not long ago. */
  readonly alive: boolean
  /** The one that answers. */
  readonly self: boolean
}

/** Disposing it: this CA has gone, and its agents are away. */
export interface SubscriberBoard extends AsyncDisposable {
  /** Told to all soon; what was put for that agent before and not yet told is left out. */
  readonly put: (row: BoardRow) => void
  /** Those of all CAs, this one's included, as they are now. */
  readonly everyone: () => Promise<readonly Subscriber[]>
  readonly replicas: () => Promise<readonly ReplicaStatus[]>
}

/** What a CA brings to the board. */
export interface BoardMember {
  /** `host:port` of its listener. */
  readonly address: string
  /** What it would put now for each agent that is connected to it. */
  readonly present: () => readonly BoardRow[]
}
