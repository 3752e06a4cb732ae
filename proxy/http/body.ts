/** How the end of a body is known (RFC 9112 §6.3). */
export const FRAMING = {
  none: 0,
  length: 1,
  chunked: 2,
  /** Responses only: the body ends with the connection. */
  close: 3,
  /** After an upgrade or CONNECT: bytes both ways until both ends are done. */
  tunnel: 4,
} as const

export type Framing = (typeof FRAMING)[keyof typeof FRAMING]

const DIGITS = /^\d{1,15}$/

/** The value of `Content-Length`; -1 when it is not 1 to 15 digits. `+4`, `4, 4`, `0x4`, `-1` all are not. */
export function parseContentLength(value: string): number {
  return DIGITS.test(value) ? Number(value) : -1
}

/** Whether `Transfer-Encoding` is the one coding we carry; any other combination is refused. */
export function isChunked(value: string): boolean {
  return value.length === 7 && value.toLowerCase() === 'chunked'
}

/** What a `Connection` field asks for. */
export interface ConnectionOptions {
  readonly close: boolean
  readonly keepAlive: boolean
  readonly upgrade: boolean
  /** Other names in it, lower case: fields that end here (RFC 9110 §7.6.1). */
  readonly names: readonly string[]
}

const NONE: readonly string[] = []
const KEEP_ALIVE: ConnectionOptions = { close: false, keepAlive: true, upgrade: false, names: NONE }
const CLOSE: ConnectionOptions = { close: true, keepAlive: false, upgrade: false, names: NONE }
const UPGRADE: ConnectionOptions = { close: false, keepAlive: false, upgrade: true, names: NONE }

/** Reads a `Connection` value. The three usual ones cost a comparison. */
export function readConnection(value: string): ConnectionOptions {
  const lower = value.toLowerCase()
  if (lower === 'keep-alive') return KEEP_ALIVE
  if (lower === 'close') return CLOSE
  if (lower === 'upgrade') return UPGRADE
  const names = lower.split(',').map((name) => name.trim())
  return {
    close: names.includes('close'),
    keepAlive: names.includes('keep-alive'),
    upgrade: names.includes('upgrade'),
    names: names.filter((name) => name !== '' && !CONNECTION_WORDS.has(name)),
  }
}

const CONNECTION_WORDS: ReadonlySet<string> = new Set(['close', 'keep-alive', 'upgrade', 'te'])
