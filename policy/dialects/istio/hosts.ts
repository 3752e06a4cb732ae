/** Hosts as Istio compares them (istio-semantics §0.3). */
import { isDnsLabel, isIp, wildcardDomainFault } from '../grammar.ts'
import type { Report } from '../schema.ts'

/** What is wrong with an entry of `hosts`: a name, a wildcard domain or an address. */
export function hostFault(host: string): string | undefined {
  return isIp(host) ? undefined : wildcardDomainFault(host)
}

/** What is wrong with the host of a destination. */
export function destinationHostFault(host: string): string | undefined {
  if (host === '*') return 'found "*", expected the name of a service'
  return hostFault(host)
}

/** Whether some name is covered by both. `*.foo.com` does not cover `foo.com`. */
export function hostsOverlap(a: string, b: string): boolean {
  const wildA = a.startsWith('*')
  const wildB = b.startsWith('*')
  const tailA = a.slice(1)
  const tailB = b.slice(1)
  if (wildA && wildB) return tailA.endsWith(tailB) || tailB.endsWith(tailA)
  if (wildA) return b.endsWith(tailA)
  if (wildB) return a.endsWith(tailB)
  return a === b
}

/** Reports what is wrong in a list of gateways; paths begin with `gateways`. */
export function checkGateways(gateways: readonly string[] | undefined, report: Report): void {
  gateways?.forEach((gateway, index) => {
    const parts = gateway.split('/')
    // Dots are the legacy form of a gateway's name.
    const good =
      parts.length === 1
        ? gateway.split('.').every(isDnsLabel)
        : parts.length === 2 && parts.every(isDnsLabel)
    if (!good)
      report(
        ['gateways', index],
        `found ${JSON.stringify(gateway)}, expected "mesh", a name or "namespace/name"`,
      )
  })
}

/** A gateway as `namespace/name`; `mesh` stays. */
export function completeGateway(name: string, namespace: string): string {
  return name === 'mesh' || name.includes('/') ? name : `${namespace}/${name}`
}
