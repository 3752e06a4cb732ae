/** Random sets where the shared generator is narrow, each of one area; as many of each. */
import type { OracleCase } from '../cases.ts'
import { type Area, PORTS, SERVICE } from './area.ts'
import { createDraw } from './draw.ts'
import { addresses, peers } from './connections.ts'
import { custom } from './custom.ts'
import { headers, hosts } from './headers.ts'
import { conditions } from './conditions.ts'
import { paths } from './paths.ts'
import { tokens } from './tokens.ts'

const AREAS: readonly Area[] = [custom, tokens, paths, headers, hosts, peers, addresses, conditions]

export function drawCases(seed: number, sets: number, requests: number): readonly OracleCase[] {
  return Array.from({ length: sets }, (_, index) => {
    const area = AREAS[index % AREAS.length] as Area
    const { request, ...made } = area.draw(createDraw(seed * 100_003 + index))
    return {
      id: `${area.name}${seed}-${index}`,
      ...made,
      manifests: [SERVICE, ...made.manifests],
      target: {
        name: 'web-1',
        namespace: 'app',
        labels: { app: 'web', ver: 'v1' },
        serviceAccount: 'web',
      },
      ports: PORTS,
      requests: Array.from({ length: requests }, (_one, at) => ({ id: `r${at}`, ...request() })),
    }
  })
}
