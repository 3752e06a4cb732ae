/** Which addresses some blocks tell apart. */
import { readBlock } from '../model/index.ts'

/** Addresses that people know, so that an example is one of them where it can be. */
const FAMILIAR = ['127.0.0.1', '10.0.0.1', '192.0.2.1', '2001:db8::1']

/**
 * Addresses among which every class of `blocks` has one: the blocks of an address are known by the
 * last boundary at or before it, and each block begins at one boundary and ends before another.
 */
export function addressClasses(blocks: readonly string[]): readonly string[] {
  const v4 = [0n]
  // The IPv4 addresses within IPv6 are read as what they are on a socket: they begin and end there.
  const v6 = [0n, 0xffffn << 32n, 0x1_0000n << 32n]
  for (const written of blocks) {
    const block = readBlock(written)
    if (block === undefined) continue
    const width = BigInt(block.bytes.length * 8)
    const free = width - BigInt(block.bits)
    const value = block.bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n)
    const start = (value >> free) << free
    const list = width === 32n ? v4 : v6
    list.push(start)
    if (start + (1n << free) < 1n << width) list.push(start + (1n << free))
  }
  return [...FAMILIAR, ...v4.map(writeV4), ...v6.map(writeV6)]
}

function writeV4(value: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 255n)).join('.')
}

function writeV6(value: bigint): string {
  const groups = Array.from({ length: 8 }, (_, at) =>
    ((value >> BigInt(16 * (7 - at))) & 0xffffn).toString(16),
  )
  return groups.join(':')
}
