import type { Socket } from 'node:net'
import type { SpiffeId } from '#ca/spiffe/index.ts'
import type { Clock } from '#core/clock.ts'
import { createLive } from '#core/live.ts'
import { type ProcessStat, type ReadProcess, readProcess } from './process.ts'
import { type PeerCredentials, readPeerCredentials } from './unix-peer.ts'

/** A process that the supervisor started, and the identity of it and its descendants. */
export interface RegisteredWorkload {
  readonly pid: number
  /** Field 22 of `/proc/<pid>/stat`, so that a later process with this pid is not mistaken for it. */
  readonly startTime: string
  readonly spiffeId: SpiffeId
}

export interface WorkloadRegistry {
  /**
   * Replaces the whole list; callers that wait are looked at again.
   *
   * @returns Whether anything was taken away: somebody who was known may be nobody, or somebody else
   */
  readonly setWorkloads: (list: readonly RegisteredWorkload[]) => boolean
  /**
   * Who the process behind a socket is, or `undefined` if after 1 s nobody has registered it. To be
   * called in the turn in which the socket was accepted, and again whenever it should be re-judged.
   */
  readonly identify: (socket: Socket, signal: AbortSignal) => Promise<SpiffeId | undefined>
}

export interface WorkloadRegistryDeps {
  readonly clock: Clock
  readonly readPeer?: (socket: Socket) => PeerCredentials
  readonly readProcess?: ReadProcess
}

/** How long a caller may be ahead of its registration. */
export const REGISTRATION_WAIT_MS = 1000

/** Generations that are looked at from a caller up; deeper trees of processes are nobody's. */
const MAX_ANCESTORS = 32

/**
 * Identifies callers by `SO_PEERCRED` and a list of processes (design.md §2, "Who is the caller").
 *
 * A caller is a registered process or a descendant of one. The nearest registered ancestor counts.
 */
export function createWorkloadRegistry(deps: WorkloadRegistryDeps): WorkloadRegistry {
  const { clock, readPeer = readPeerCredentials, readProcess: read = readProcess } = deps
  const workloads = createLive<ReadonlyMap<number, RegisteredWorkload>>(new Map())
  const callers = new WeakMap<Socket, ProcessStat | undefined>()

  /** The process as it was when it was first seen: what a recycled pid is found out by. */
  const callerOf = (socket: Socket): ProcessStat | undefined => {
    if (!callers.has(socket)) callers.set(socket, read(readPeer(socket).pid))
    return callers.get(socket)
  }

  return {
    setWorkloads(list) {
      const before = workloads.live.current
      const after = new Map(list.map((workload) => [workload.pid, workload]))
      workloads.set(after)
      return [...before.values()].some((one) => !isSame(one, after.get(one.pid)))
    },

    async identify(socket, signal) {
      const caller = callerOf(socket)
      if (!caller) return undefined
      const known = owner(caller, workloads.live.current, read)
      if (known) return known.spiffeId

      const waiting = new AbortController()
      const either = AbortSignal.any([signal, waiting.signal])
      // An abort is how this wait ends when the caller was registered in time.
      void clock.sleep(REGISTRATION_WAIT_MS, either).then(
        () => waiting.abort(),
        () => {},
      )
      try {
        for await (const list of workloads.live.changes(either)) {
          const found = owner(caller, list, read)
          if (found) return found.spiffeId
        }
        return undefined
      } finally {
        waiting.abort()
      }
    },
  }
}

function isSame(one: RegisteredWorkload, other: RegisteredWorkload | undefined): boolean {
  return one.startTime === other?.startTime && one.spiffeId === other.spiffeId
}

/**
 * The registered workload that `caller` is or descends from. Start times are compared at every
 * step: the caller's with what it was at its first sight, each registered one's with the list, and
 * no parent may be younger than its child (its pid has passed to another process since).
 */
export function owner(
  caller: ProcessStat,
  workloads: ReadonlyMap<number, RegisteredWorkload>,
  read: ReadProcess,
): RegisteredWorkload | undefined {
  let at = read(caller.pid)
  if (at?.startTime !== caller.startTime) return undefined
  for (let generation = 0; generation < MAX_ANCESTORS; generation += 1) {
    const workload = workloads.get(at.pid)
    if (workload) return workload.startTime === at.startTime ? workload : undefined
    if (at.parentPid <= 1) return undefined
    const parent = read(at.parentPid)
    if (!parent || BigInt(parent.startTime) > BigInt(at.startTime)) return undefined
    at = parent
  }
  return undefined
}
