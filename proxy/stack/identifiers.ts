/** Identifiers that name a request in logs and headers. They need to be unlike each other, not secret. */

const HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) =>
  byte.toString(16).padStart(2, '0'),
)

/** `bytes` random bytes in lower-case hex; an even number. Draws 16 bits at a time: this runs for each request. */
export function hexBytes(bytes: number, random: () => number): string {
  let text = ''
  for (let at = 0; at < bytes; at += 2) {
    const bits = Math.floor(random() * 65_536)
    text += (HEX[bits >> 8] as string) + (HEX[bits & 0xff] as string)
  }
  return text
}

/** What `x-redoubt-decision` says: 16 bytes in hex. */
export function decisionId(random: () => number): string {
  return hexBytes(16, random)
}

/** What `x-request-id` says: a UUID of version 4. */
export function requestId(random: () => number): string {
  const bytes = hexBytes(16, random)
  const variant = '89ab'[Math.floor(random() * 4)]
  return `${bytes.slice(0, 8)}-${bytes.slice(8, 12)}-4${bytes.slice(13, 16)}-${variant}${bytes.slice(17, 20)}-${bytes.slice(20)}`
}
