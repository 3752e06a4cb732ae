/**
 * IP addresses and CIDR blocks as bytes. `node:net` has both, and a pure folder may not have it.
 */

/** Answers whether an address, in text, lies within what a policy wrote. */
export type AddressTest = (address: string) => boolean

const MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]

/** The 4 or 16 bytes of an address, or `undefined` when `text` is none. A zone (`%eth0`) is left out. */
export function readAddress(text: string): readonly number[] | undefined {
  return text.includes(':') ? readV6(text) : readV4(text)
}

/**
 * As {@link readAddress}, for the end of a socket: `::ffff:10.0.0.1` is how a dual-stack listener
 * spells the IPv4 peer 10.0.0.1, and a rule on 10.0.0.1 means it.
 */
export function readSocketAddress(text: string): readonly number[] | undefined {
  const bytes = readAddress(text)
  return bytes?.length === 16 && MAPPED.every((byte, at) => bytes[at] === byte)
    ? bytes.slice(12)
    : bytes
}

/**
 * A block, from `10.0.0.0/8` or a bare address (its own length, a zone left out); `undefined` when it is
 * neither, as an address with both a zone and a length.
 */
export function readBlock(
  written: string,
): { readonly bytes: readonly number[]; readonly bits: number } | undefined {
  const slash = written.indexOf('/')
  const address = slash === -1 ? written : written.slice(0, slash)
  const bytes = slash !== -1 && address.includes('%') ? undefined : readAddress(address)
  if (bytes === undefined) return undefined
  if (slash === -1) return { bytes, bits: bytes.length * 8 }
  const length = written.slice(slash + 1)
  const bits = Number(length)
  if (!/^(0|[1-9][0-9]{0,2})$/.test(length) || bits > bytes.length * 8) return undefined
  return { bytes, bits }
}

/** @returns whether the first `bits` of both agree; an address of the other family never does. */
export function blockHas(
  block: { readonly bytes: readonly number[]; readonly bits: number },
  address: readonly number[] | undefined,
): boolean {
  if (address?.length !== block.bytes.length) return false
  const whole = block.bits >> 3
  for (let at = 0; at < whole; at += 1) if (block.bytes[at] !== address[at]) return false
  const rest = block.bits & 7
  if (rest === 0) return true
  const mask = 0xff00 >> rest
  return ((block.bytes[whole] ?? 0) & mask) === ((address[whole] ?? 0) & mask)
}

function readV4(text: string): readonly number[] | undefined {
  const parts = text.split('.')
  if (parts.length !== 4) return undefined
  const bytes = parts.map((part) => (/^(0|[1-9][0-9]{0,2})$/.test(part) ? Number(part) : 256))
  return bytes.every((byte) => byte < 256) ? bytes : undefined
}

function readV6(text: string): readonly number[] | undefined {
  const zone = text.indexOf('%')
  const halves = (zone === -1 ? text : text.slice(0, zone)).split('::')
  if (halves.length > 2) return undefined
  const [head, tail] = halves.map((half, index) => readGroups(half, index === halves.length - 1))
  if (head === undefined) return undefined
  if (halves.length === 1) return head.length === 16 ? head : undefined
  if (tail === undefined || head.length + tail.length > 14) return undefined
  return [...head, ...Array<number>(16 - head.length - tail.length).fill(0), ...tail]
}

/** Bytes of `a:b:c`, the last of which may be IPv4 in dots when `last`. */
function readGroups(text: string, last: boolean): readonly number[] | undefined {
  if (text === '') return []
  const groups = text.split(':')
  const bytes: number[] = []
  for (const [index, group] of groups.entries()) {
    if (last && index === groups.length - 1 && group.includes('.')) {
      const v4 = readV4(group)
      if (v4 === undefined) return undefined
      bytes.push(...v4)
    } else if (/^[0-9a-fA-F]{1,4}$/.test(group)) {
      const value = Number.parseInt(group, 16)
      bytes.push(value >> 8, value & 0xff)
    } else return undefined
  }
  return bytes
}
