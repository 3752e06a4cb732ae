import type { LoadBalancing } from '#policy/model/index.ts'

/** What balancing reads of an endpoint. */
export interface Balanced {
  /** Requests sent there that are not over. */
  readonly active: number
}

/** Picks one of `endpoints`; `undefined` when there is none. */
export type Balancer = <T extends Balanced>(endpoints: readonly T[]) => T | undefined

/**
 * How one cluster spreads its requests (istio-semantics §6.4).
 *
 * @param random - numbers in [0, 1)
 */
export function createBalancer(kind: LoadBalancing, random: () => number): Balancer {
  switch (kind) {
    case 'LEAST_REQUEST':
      return (endpoints) => leastOfTwo(endpoints, random)
    case 'RANDOM':
      return (endpoints) => endpoints[Math.floor(random() * endpoints.length)]
    case 'ROUND_ROBIN':
      return roundRobin(random)
    default:
      return kind satisfies never
  }
}

/** Two different ones by chance, and of these the less busy: nearly as good as asking all of them. */
function leastOfTwo<T extends Balanced>(
  endpoints: readonly T[],
  random: () => number,
): T | undefined {
  const { length } = endpoints
  if (length < 2) return endpoints[0]
  const first = Math.floor(random() * length)
  const step = 1 + Math.floor(random() * (length - 1))
  const one = endpoints[first]
  const other = endpoints[(first + step) % length]
  return one !== undefined && other !== undefined && other.active < one.active ? other : one
}

/** Starts anywhere, so that sidecars started together do not all begin with the same endpoint. */
function roundRobin(random: () => number): Balancer {
  let next = Math.floor(random() * 65_536)
  return (endpoints) => {
    next = (next + 1) % Number.MAX_SAFE_INTEGER
    return endpoints[next % endpoints.length]
  }
}
