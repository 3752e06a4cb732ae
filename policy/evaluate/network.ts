/** Addresses and blocks as one big number each: slow, and as the RFCs define them. */

interface Address {
  readonly value: bigint
  readonly width: 32 | 128
}

/** Whether `written` is an address, the zone of which counts nothing, or a CIDR block, which has none. */
export function isBlock(written: string): boolean {
  const [address = '', length, ...more] = written.split('/')
  const parsed = length !== undefined && address.includes('%') ? undefined : parseAddress(address)
  if (parsed === undefined || more.length > 0) return false
  return length === undefined || (isDecimal(length, 3) && Number(length) <= parsed.width)
}

/** Whether `address` lies in the block. Of `socket` ends, `::ffff:a.b.c.d` is the IPv4 address in it. */
export function liesIn(written: string, address: string, { socket }: { socket: boolean }): boolean {
  if (!isBlock(written)) return false
  const [network = '', length] = written.split('/')
  const block = parseAddress(network)
  const own = parseAddress(address)
  if (block === undefined || own === undefined) return false
  const end = socket && own.width === 128 && own.value >> 32n === 0xffffn ? toV4(own) : own
  if (block.width !== end.width) return false
  const free = BigInt(block.width - Number(length ?? block.width))
  return block.value >> free === end.value >> free
}

function toV4({ value }: Address): Address {
  return { value: value & 0xffff_ffffn, width: 32 }
}

function parseAddress(text: string): Address | undefined {
  if (!text.includes(':')) {
    const value = parseV4(text)
    return value === undefined ? undefined : { value, width: 32 }
  }
  const withoutZone = text.replace(/%.*$/s, '')
  // The last 32 bits in dots become two groups, and `::` as many zeros as are missing.
  const dots = /^(.*:)([0-9.]*\.[0-9.]*)$/.exec(withoutZone)
  const tail = dots === null ? undefined : parseV4(dots[2] ?? '')
  if (dots !== null && tail === undefined) return undefined
  const hex =
    tail === undefined
      ? withoutZone
      : `${dots?.[1]}${(tail >> 16n).toString(16)}:${(tail & 0xffffn).toString(16)}`
  const halves = hex.split('::')
  const groups = halves.map((half) => (half === '' ? [] : half.split(':')))
  const missing = 8 - groups.flat().length
  if (halves.length > 2 || (halves.length === 2 ? missing < 1 : missing !== 0)) return undefined
  const all = [...(groups[0] ?? []), ...Array<string>(missing).fill('0'), ...(groups[1] ?? [])]
  if (!all.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined
  return { value: BigInt(`0x${all.map((group) => group.padStart(4, '0')).join('')}`), width: 128 }
}

function parseV4(text: string): bigint | undefined {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every((part) => isDecimal(part, 3) && Number(part) < 256)) {
    return undefined
  }
  return parts.reduce((value, part) => value * 256n + BigInt(part), 0n)
}

/** Decimal without a leading zero, of at most `digits` digits. */
function isDecimal(text: string, digits: number): boolean {
  return /^[0-9]+$/.test(text) && text.length <= digits && (text === '0' || !text.startsWith('0'))
}
