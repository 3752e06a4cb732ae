import { isIP } from 'node:net'

/**
 * What gRPC dials for the CA's address: `host:port`, or several of them with commas between, which are
 * tried in order until one answers. Several have to be addresses; a single one may be a name, and then
 * every address of the name is tried.
 */
export function caTarget(address: string): string {
  const all = address.split(',')
  return all.length === 1
    ? address
    : `${isIP(hostOf(all[0] ?? '')) === 6 ? 'ipv6' : 'ipv4'}:${address}`
}

/** Why `address` is none; `undefined` if it is one, or several of one family. */
export function caAddressFault(address: string): string | undefined {
  const all = address.split(',')
  const isPlace = all.every((one) => /^[^,]+:\d{1,5}$/.test(one))
  const families = new Set(all.map((one) => isIP(hostOf(one))))
  if (isPlace && (all.length === 1 || (families.size === 1 && !families.has(0)))) return undefined
  return `caAddress is ${JSON.stringify(address)}, expected host:port, or several addresses of one family with commas between`
}

function hostOf(place: string): string {
  return place.slice(0, place.lastIndexOf(':')).replace(/^\[|\]$/g, '')
}
