/** Certificates over leaves. Those of every workload have the same one or two: they are kept once. */

/** Issuing CAs at once, and what is over them; another one more pushes the oldest out, of this list alone. */
const MAX_SHARED = 16

/**
 * What is returned gives memory with the same bytes: of its own, or what it gave for them before. Whoever
 * is given it must not write into it.
 */
export function createSharedIssuers(): (der: Uint8Array) => Uint8Array {
  const shared: Uint8Array[] = []
  return (der) => {
    const known = shared.find((one) => Buffer.compare(one, der) === 0)
    if (known) return known
    const own = new Uint8Array(der)
    shared.push(own)
    if (shared.length > MAX_SHARED) shared.shift()
    return own
  }
}
