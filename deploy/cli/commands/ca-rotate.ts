/** `redoubt ca rotate start | promote | finish | cancel`: from one root to the next without an outage. */
import type { RotateStep } from '#ca/index.ts'
import type { StepResponse } from '#ca/proto/gen/admin.ts'
import { CA_OPTIONS, type CaClient, openCaClient } from '../ca-client.ts'
import { KEY_PASSPHRASE_OPTION, rotateByForce } from '../ca-force.ts'
import { printStep } from '../ca-step.ts'
import { laggardText } from '../ca-text.ts'
import {
  type Command,
  type CommandOption,
  type ExitCode,
  flagOption,
  type Input,
  type Io,
  textOption,
} from '../command.ts'
import { parseDuration } from '../duration.ts'
import { OUTPUT_OPTION } from '../output.ts'

const FORCE: CommandOption = {
  flags: '--force',
  summary: 'wait for nobody; works when everything has expired, and on a mesh that does not run',
}
const OPTIONS: readonly CommandOption[] = [
  FORCE,
  KEY_PASSPHRASE_OPTION,
  ...CA_OPTIONS,
  OUTPUT_OPTION,
]
const WAIT: CommandOption = {
  flags: '--wait <duration>',
  summary: 'how long to wait until it can be done, e.g. 5m; 0s asks once',
}

const start: Command = {
  name: 'ca rotate start',
  summary: "step 1 of 3: make the next root, put it in everybody's bundle, wait until all have it",
  options: [{ ...WAIT, default: '1m' }, ...OPTIONS],
  examples: [
    { what: 'Begin to rotate the root', command: 'redoubt ca rotate start' },
    {
      what: 'All of it, unattended',
      command:
        'redoubt ca rotate start && redoubt ca rotate promote && redoubt ca rotate finish --wait 2h',
    },
  ],
  async run(io, input, signal) {
    if (flagOption(input, 'force')) return force(io, input, 'start', signal)
    const ca = await openCaClient(io, input, signal)
    const started = await ca.call('rotate', { step: 'start', force: false }, signal)
    const waited = await untilAcknowledged(ca, io, started, waitOf(io, input), signal)
    ca[Symbol.dispose]()
    return printStep(io, input, waited)
  },
}

const promote: Command = {
  name: 'ca rotate promote',
  summary:
    'step 2 of 3: sign with the next root, renew every certificate; refused until all have it',
  options: [{ ...WAIT, default: '1m' }, ...OPTIONS],
  examples: [
    { what: 'Sign with the next root', command: 'redoubt ca rotate promote' },
    {
      what: 'Who has not acknowledged its bundle yet, in a script',
      command: "redoubt ca rotate promote --wait 0s --output json | jq -r '.laggards[].id'",
    },
  ],
  run: (io, input, signal) => stepWhenReady(io, input, 'promote', signal),
}

const finish: Command = {
  name: 'ca rotate finish',
  summary: 'step 3 of 3: drop the old root; refused, with the list, while a live leaf chains to it',
  options: [{ ...WAIT, default: '0s' }, ...OPTIONS],
  examples: [
    { what: 'Drop the old root, or see what still needs it', command: 'redoubt ca rotate finish' },
    {
      what: 'Wait until the last old certificate has ended',
      command: 'redoubt ca rotate finish --wait 2h',
    },
  ],
  run: (io, input, signal) => stepWhenReady(io, input, 'finish', signal),
}

const cancel: Command = {
  name: 'ca rotate cancel',
  summary: 'take back a rotation: at once before promote, by going back after it',
  options: OPTIONS,
  examples: [
    { what: 'Take back what start did', command: 'redoubt ca rotate cancel' },
    {
      what: 'Go back after promote, and drop the newer root once nothing needs it',
      command: 'redoubt ca rotate cancel && redoubt ca rotate finish --wait 2h',
    },
  ],
  run: (io, input, signal) => stepWhenReady(io, input, 'cancel', signal),
}

export const caRotate: readonly Command[] = [start, promote, finish, cancel]

/** Milliseconds between two looks. */
const LOOK_MS = 250

/** Instant at which to stop waiting. */
function waitOf(io: Io, input: Input): Temporal.Instant {
  return io.now().add({ milliseconds: parseDuration(textOption(input, 'wait') ?? '0s') })
}

async function force(
  io: Io,
  input: Input,
  step: RotateStep,
  signal: AbortSignal,
): Promise<ExitCode> {
  if (textOption(input, 'ca') === undefined) {
    await rotateByForce(io, input, step, signal)
    return 0
  }
  using ca = await openCaClient(io, input, signal)
  return printStep(io, input, await ca.call('rotate', { step, force: true }, signal))
}

async function stepWhenReady(
  io: Io,
  input: Input,
  step: RotateStep,
  signal: AbortSignal,
): Promise<ExitCode> {
  if (flagOption(input, 'force')) return force(io, input, step, signal)
  const until = waitOf(io, input)
  let told = ''
  for (;;) {
    // Opened anew: an administrator's certificate is short, and what it chains to may be dropped.
    using ca = await openCaClient(io, input, signal)
    const outcome = await ca.call('rotate', { step, force: false }, signal)
    const { notYet } = outcome
    if (!notYet || Temporal.Instant.compare(io.now(), until) >= 0) {
      return printStep(io, input, outcome)
    }
    if (io.isTerminal && notYet.message !== told) io.err(`${notYet.message}; waiting`)
    told = notYet.message
    await io.clock.sleep(pauseMs(io, until, notYet.retryAfterMs), signal)
  }
}

/** Not longer than asked to wait, nor than a look now and then. */
function pauseMs(io: Io, until: Temporal.Instant, retryAfterMs: number): number {
  const leftMs = until.epochMilliseconds - io.now().epochMilliseconds
  return Math.max(LOOK_MS, Math.min(retryAfterMs, leftMs, 5000))
}

/** Waits until everybody who is there has the bundle with the next root; who has not is in the outcome. */
async function untilAcknowledged(
  ca: CaClient,
  io: Io,
  started: StepResponse,
  until: Temporal.Instant,
  signal: AbortSignal,
): Promise<StepResponse> {
  let told = Number.POSITIVE_INFINITY
  for (let status = started.status; ; ) {
    const { subscribers = [], generation = 0n } = status ?? {}
    const laggards = subscribers.filter((each) => each.generation < generation)
    const late = laggards.filter(({ connected }) => connected)
    if (late.length === 0) return { ...started, laggards, status }
    if (Temporal.Instant.compare(io.now(), until) >= 0) {
      const message = `The next root is in the bundle, and ${late.length} agents and proxies have not acknowledged it yet`
      const notYet = { reason: 'CA_ROTATION_NOT_YET', message, retryAfterMs: 1000 }
      return { ...started, notYet, laggards, status }
    }
    if (io.isTerminal && late.length < told) {
      io.err(`waiting for ${late.length} of ${subscribers.length} to acknowledge:`)
      for (const each of late.slice(0, 5)) io.err(laggardText(each))
    }
    told = late.length
    await io.clock.sleep(LOOK_MS, signal)
    status = await ca.call('status', {}, signal)
  }
}
