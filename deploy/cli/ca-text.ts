/** What the CA answers, for people and for JSON. */
import type { SubscriberStatus } from '#ca/proto/gen/admin.ts'

/** One who has not acknowledged a bundle. */
export function laggardText({ id, kind, name, generation, connected }: SubscriberStatus): string {
  const where = connected ? '' : ', away'
  return `  ${kind.padEnd(5)} ${id} (${name}) has generation ${generation}${where}`
}

/** ISO 8601 of epoch milliseconds. */
export function isoText(epochMs: bigint): string {
  return String(Temporal.Instant.fromEpochMilliseconds(Number(epochMs)))
}

/** `in 3 d 4 h`, `in 12 s`, `ended`: how long until an end. */
export function remainingText(endMs: bigint, now: Temporal.Instant): string {
  const seconds = Math.floor((Number(endMs) - now.epochMilliseconds) / 1000)
  return seconds < 0 ? 'ended' : `in ${spanText(seconds)}`
}

/** The two largest units of a span. */
export function spanText(seconds: number): string {
  const units = [
    [86_400, 'd'],
    [3600, 'h'],
    [60, 'min'],
    [1, 's'],
  ] as const
  const at = units.findIndex(([size]) => seconds >= size)
  const parts = units
    .slice(at === -1 ? 3 : at, at === -1 ? 4 : at + 2)
    .map(([size, unit], index) => {
      const within = index === 0 ? seconds : seconds % (units[at]?.[0] ?? 1)
      return [Math.floor(within / size), unit] as const
    })
  const shown = parts.filter(([count], index) => index === 0 || count > 0)
  return shown.map(([count, unit]) => `${count} ${unit}`).join(' ')
}
