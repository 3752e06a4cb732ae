import { DeployError } from '../error.ts'

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

/** Milliseconds of `20s`, `500ms`, `2m`, `1h`, `30d`. @throws {DeployError} `DEPLOY_USAGE` */
export function parseDuration(text: string): number {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text) ?? []
  const unitMs = UNIT_MS[unit]
  if (number === undefined || unitMs === undefined) {
    throw new DeployError(
      'DEPLOY_USAGE',
      `Cannot read the duration ${JSON.stringify(text)}: expected a number with ms, s, m, h or d, e.g. 20s`,
    )
  }
  return Number(number) * unitMs
}

/** Value of `--for`; left out: for ever. */
export function parseForOption(text: string | undefined): number {
  return text === undefined ? Number.POSITIVE_INFINITY : parseDuration(text)
}

/** How long something is kept; exact time. @throws {DeployError} `DEPLOY_USAGE` */
export function parseRetention(text: string): Temporal.Duration {
  const exact = Temporal.Duration.from({ milliseconds: Math.trunc(parseDuration(text)) })
  return exact.round({ largestUnit: 'hours' })
}
