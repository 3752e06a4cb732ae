/** Hosts as Istio compares them (istio-semantics §0.3). */
import { fqdnFault, isIp, wildcardDomainFault } from '../grammar.ts'

/** What is wrong with an entry of `hosts`: a name, a wildcard domain or an address. */
export function hostFault(host: string): string | undefined {
  return isIp(host) ? undefined : wildcardDomainFault(host)
}

/** What is wrong with the host of a destination. */
export function destinationHostFault(host: string): string | undefined {
  return isIp(host) ? undefined : fqdnFault(host)
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
