/** What a script expects of a certificate: `--expect` and `--min-remaining`, read before anything is looked at. */
import { type Inspection, inWords } from '#ca/inspect/index.ts'
import { parseSpiffeId } from '#ca/spiffe/index.ts'
import { DeployError } from '../error.ts'
import { type Input, textOption } from './command.ts'
import { parseDuration } from './duration.ts'

export interface Expectations {
  /** The SPIFFE ID that it has to be. */
  readonly id?: string
  /** How long it has to last, as it was written and in milliseconds. */
  readonly remaining?: { readonly text: string; readonly ms: number }
}

/** @throws {DeployError} `DEPLOY_USAGE` for what is no SPIFFE ID or no duration */
export function readExpectations(input: Input): Expectations {
  const [id, text] = [textOption(input, 'expect'), textOption(input, 'minRemaining')]
  return {
    ...(id !== undefined && { id: checkedId(id) }),
    ...(text !== undefined && { remaining: { text, ms: parseDuration(text) } }),
  }
}

function checkedId(text: string): string {
  try {
    return parseSpiffeId(text)
  } catch (cause) {
    const message = `Cannot expect ${JSON.stringify(text)}: it is no SPIFFE ID, expected e.g. spiffe://cluster.local/ns/pay/sa/api`
    throw new DeployError('DEPLOY_USAGE', message, { cause })
  }
}

/**
 * The first expectation that is not met, as `reason: detail`. A file with nothing that could meet one
 * does not: a script must not take it for a certificate that lasts.
 */
export function unmet(
  { id, remaining }: Expectations,
  { certificates, tokens }: Pick<Inspection, 'certificates' | 'tokens'>,
): string | undefined {
  if (id !== undefined) {
    const { spiffeId = null } = certificates.find(({ ca }) => !ca) ?? tokens[0] ?? {}
    if (spiffeId !== id) {
      return `wrong-identity: it ${spiffeId === null ? 'has no SPIFFE ID' : `is ${spiffeId}`}, expected ${id}`
    }
  }
  return remaining && endsTooSoon(remaining, [...certificates, ...tokens])
}

/** Of all that is shown: a chain holds as long as its shortest part. */
function endsTooSoon(
  { text, ms }: NonNullable<Expectations['remaining']>,
  shown: readonly { readonly remainingSeconds: number | null }[],
): string | undefined {
  if (shown.length === 0) return `ends-too-soon: nothing in it has an end, expected ${text} left`
  const least = Math.min(...shown.map(({ remainingSeconds }) => remainingSeconds ?? 0))
  if (least * 1000 >= ms) return undefined
  return `ends-too-soon: ${least > 0 ? inWords(least) : 'no time'} left, expected ${text}`
}
