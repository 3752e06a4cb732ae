/** Hosts as Istio compares them (istio-semantics §0.3). */
import { fqdnFault, isDnsLabel, isIp, wildcardDomainFault } from '../grammar.ts'
import type { Report } from '../schema.ts'

/** What is wrong with an entry of `hosts`: a name, a wildcard domain or an address. */
export function hostFault(host: string): string | undefined {
  return isIp(host) ? undefined : wildcardDomainFault(host)
}

/** Whether sidecars are meant too. */
export function isForMesh(gateways: readonly string[] | undefined): boolean {
  return !gateways || gateways.length === 0 || gateways.includes('mesh')
}

/** {@link hostFault} for a VirtualService; of gateways with TLS routes also `outbound_.<port>_.<subset>_.<host>`. */
export function boundHostFault(
  host: string,
  gateways: readonly string[] | undefined,
  serverNames: boolean,
): string | undefined {
  if (serverNames && !isForMesh(gateways) && host.startsWith('outbound_') && host.length <= 255) {
    const [, port = '', , name = ''] = host.split('_')
    return /\d/.test(port) && /[a-zA-Z]/.test(name)
      ? undefined
      : `found ${JSON.stringify(host)}, expected outbound_.<port>_.<subset>_.<host>`
  }
  return hostFault(host)
}

/** Whether every name that `inner` covers is one that `outer` covers. */
export function hostContains(outer: string, inner: string): boolean {
  if (!outer.startsWith('*')) return outer === inner
  return inner.startsWith('*')
    ? inner.slice(1).endsWith(outer.slice(1))
    : inner.endsWith(outer.slice(1))
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

/** Reports what is wrong in a list of gateways; paths begin with `gateways`. Istio looks no further than the first name without namespace. */
export function checkGateways(gateways: readonly string[] | undefined, report: Report): void {
  for (const [index, gateway] of (gateways ?? []).entries()) {
    const slash = gateway.indexOf('/')
    const wrong = slash < 0 ? fqdnFault(gateway) : undefined
    const parts = [gateway.slice(0, slash), gateway.slice(slash + 1)]
    if (wrong !== undefined || (slash >= 0 && !parts.every(isDnsLabel))) {
      report(
        ['gateways', index],
        `found ${JSON.stringify(gateway)}, expected "mesh", a name or "namespace/name"`,
      )
    }
    if (slash < 0) return
  }
}

/** A gateway as `namespace/name`; `mesh` stays. With dots, as of old: `name.namespace`, and more that says nothing. */
export function completeGateway(written: string, namespace: string): string {
  if (written === 'mesh' || written.includes('/')) return written
  const [name, of = namespace] = written.split('.')
  return `${of}/${name}`
}
