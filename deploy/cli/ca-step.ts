/** What has become of a step that the CA was asked for: done, or who and what holds it up. */
import type { LedgerRow, StepResponse } from '#ca/proto/gen/admin.ts'
import { isoText, laggardText, remainingText } from './ca-text.ts'
import { rowJson } from './commands/ca-list.ts'
import { statusJson, statusLines } from './commands/ca-status.ts'
import type { Input, Io } from './command.ts'
import { outputFormat, paint, print } from './output.ts'

/**
 * Prints it; the exit code is 0 if it is done, 1 if it could not be done yet.
 *
 * @param done - A sentence for people on what is so when it is done.
 */
export function printStep(io: Io, input: Input, step: StepResponse, done?: string): 0 | 1 {
  print(io, outputFormat(input), stepJson(step), () => [
    ...(done === undefined || step.notYet ? [] : [paint(io, 'green', `✔ ${done}`)]),
    ...stepLines(step, io),
  ])
  return step.notYet ? 1 : 0
}

function stepJson({ notYet, laggards, leaves, leafCount, replacedCount, status }: StepResponse) {
  return {
    done: notYet === undefined,
    ...(notYet && { reason: notYet.reason, message: notYet.message }),
    ...(notYet && { retryAfterMs: notYet.retryAfterMs }),
    laggards: laggards.map(({ generation, ...rest }) => ({
      ...rest,
      generation: Number(generation),
    })),
    leaves: leaves.map(rowJson),
    leafCount: Number(leafCount),
    replacedCount: Number(replacedCount),
    ...(status && { status: statusJson(status) }),
  }
}

function stepLines(step: StepResponse, io: Io): readonly string[] {
  const { notYet, laggards, leaves, leafCount, status } = step
  const more = Number(leafCount) - leaves.length
  const away = laggards.filter(({ connected }) => !connected)
  return [
    ...(notYet ? [paint(io, 'yellow', notYet.message), ...laggards.map(laggardText)] : []),
    ...leaves.map((leaf) => leafText(leaf, io)),
    ...(more > 0 ? [`  and ${more} more (redoubt ca list)`] : []),
    ...(!notYet && away.length > 0
      ? [paint(io, 'yellow', 'not waited for, because they are away:'), ...away.map(laggardText)]
      : []),
    ...(notYet || !status ? [] : statusLines(status, io)),
  ]
}

function leafText({ serial, subject, notAfterMs, requestedBy }: LedgerRow, io: Io): string {
  const end = `ends ${isoText(notAfterMs)} (${remainingText(notAfterMs, io.now())})`
  return `  ${serial.padEnd(32)}  ${subject}  ${end}, for ${requestedBy}`
}
