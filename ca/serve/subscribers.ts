/**
 * Who follows the CA's trust, and how far each has come: what a root rotation waits for, and what a
 * revocation is measured by. An agent speaks for the processes behind it.
 */
import { randomUUID } from 'node:crypto'

import { createLive, type Live } from '#core/live.ts'
import type { SpiffeId } from '../spiffe/index.ts'
import type { BoardMember, BoardRow, SubscriberBoard } from './board.ts'

/** A process that judges peers by our trust. */
export interface Subscriber {
  readonly id: SpiffeId
  /** `proxy`: a process of ours behind an agent, the policy server too. */
  readonly kind: 'agent' | 'proxy'
  /** What it calls itself, for people. */
  readonly name: string
  /** Of the trust bundle that it has acknowledged; 0: none. */
  readonly generation: number
  /** Of the deny-list, the same way. */
  readonly denials: number
  /** An agent that is not: how it was last, until its certificate has ended. */
  readonly connected: boolean
  /** Of the certificate by which an agent is connected, and of each CA above it; none of a process behind one. */
  readonly keyIds: readonly string[]
}

/** What a caller says of itself, or of one process behind it. */
export interface Standing {
  readonly generation: number
  readonly denials: number
}

/** One message of an agent. */
export interface Acknowledgement extends Standing {
  readonly name: string
  readonly processes: readonly ProcessReport[]
}

export type ProcessReport =
  | { readonly kind: 'gone'; readonly number: number }
  | (Standing & {
      readonly kind: 'there'
      /** Which of the agent's. */
      readonly number: number
      readonly id: SpiffeId
      readonly name: string
    })

/** One stream of one agent. Disposing it: the stream has ended. */
export interface Subscription extends Disposable {
  readonly hear: (acknowledgement: Acknowledgement) => void
}

/** An agent as its certificate says. */
export interface SubscribedPeer {
  readonly id: SpiffeId
  readonly notAfter: Temporal.Instant
  readonly keyIds: readonly string[]
}

export interface Subscribers {
  /** Those of this CA. */
  readonly list: () => readonly Subscriber[]
  /** Those of all CAs on the database. */
  readonly everyone: () => Promise<readonly Subscriber[]>
  /** The CAs on the database; none where there is one alone. */
  readonly replicas: SubscriberBoard['replicas']
  /** From now on the others hear of those of this CA, and `everyone` is whoever is on the board. */
  readonly share: (board: SubscriberBoard) => void
  /** What this CA has for the board. */
  readonly present: BoardMember['present']
  /** Counts up whenever the list is another. */
  readonly changes: Live<number>
  /** @param peer - The agent, by the certificate that it showed. */
  readonly open: (peer: SubscribedPeer) => Subscription
}

/** Processes behind one agent; it has no more connections on its socket. */
const MAX_PROCESSES = 4096

interface AgentRecord extends Standing {
  readonly id: SpiffeId
  readonly name: string
  readonly until: Temporal.Instant
  readonly keyIds: readonly string[]
  /** The stream that speaks for it; `undefined`: it is not connected. */
  readonly stream: Subscription | undefined
  /** Which stream it was last, for other CAs. */
  readonly streamName: string
  /** Epoch milliseconds. */
  readonly openedAt: number
  readonly processes: Map<number, ProcessReport & { readonly kind: 'there' }>
}

export function createSubscribers(now: () => Temporal.Instant): Subscribers {
  const agents = new Map<string, AgentRecord>()
  const ticks = createLive(0)
  let board: SubscriberBoard | undefined
  const changed = (key: string): void => {
    const record = agents.get(key)
    if (record) board?.put(rowOf(key, record))
    forget(agents, now())
    ticks.set(ticks.live.current + 1)
  }
  const list = (): readonly Subscriber[] => [...agents.values()].flatMap(subscribersOf)
  const present = (): readonly BoardRow[] =>
    [...agents]
      .filter(([, { stream }]) => stream !== undefined)
      .map(([key, record]) => rowOf(key, record))
  return {
    changes: ticks.live,
    list,
    present,
    everyone: async () => board?.everyone() ?? list(),
    replicas: async () => board?.replicas() ?? [],
    share(shared) {
      board = shared
      for (const row of present()) shared.put(row)
    },
    open({ id, notAfter: until, keyIds }) {
      let key: string | undefined
      const opened = { streamName: randomUUID(), openedAt: now().epochMilliseconds }
      const stream: Subscription = {
        hear({ name, generation, denials, processes }) {
          const known = key === undefined ? undefined : agents.get(key)
          if (known && known.stream !== stream) return // a newer stream speaks for it
          key ??= `${id} ${name}`
          const record: AgentRecord = known ?? {
            id,
            name,
            until,
            keyIds,
            stream,
            generation,
            denials,
            ...opened,
            processes: new Map(),
          }
          for (const report of processes) take(record.processes, report)
          agents.set(key, { ...record, generation, denials })
          changed(key)
        },
        [Symbol.dispose]() {
          const record = key === undefined ? undefined : agents.get(key)
          if (!record || key === undefined || record.stream !== stream) return
          agents.set(key, { ...record, stream: undefined })
          changed(key)
        },
      }
      return stream
    },
  }
}

function take(processes: AgentRecord['processes'], report: ProcessReport): void {
  if (report.kind === 'gone') processes.delete(report.number)
  else if (processes.has(report.number) || processes.size < MAX_PROCESSES) {
    processes.set(report.number, report)
  }
}

function rowOf(agent: string, record: AgentRecord): BoardRow {
  const { streamName, openedAt, stream, until } = record
  return {
    agent,
    stream: streamName,
    openedAt,
    connected: stream !== undefined,
    until: until.epochMilliseconds,
    subscribers: subscribersOf(record),
  }
}

function subscribersOf(agent: AgentRecord): readonly Subscriber[] {
  const { id, name, generation, denials, stream, processes, keyIds } = agent
  const connected = stream !== undefined
  return [
    { id, kind: 'agent', name, generation, denials, connected, keyIds },
    ...[...processes.values()].map((one): Subscriber => {
      const { id: processId, name: processName } = one
      return {
        id: processId,
        kind: 'proxy',
        name: processName,
        generation: one.generation,
        denials: one.denials,
        connected,
        keyIds: [],
      }
    }),
  ]
}

/** An agent whose certificate has ended while it was away is nobody any more. */
function forget(agents: Map<string, AgentRecord>, now: Temporal.Instant): void {
  for (const [key, { stream, until }] of agents) {
    if (stream === undefined && Temporal.Instant.compare(until, now) <= 0) agents.delete(key)
  }
}
