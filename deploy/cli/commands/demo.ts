import logUpdate from 'log-update'

import { type Collect, createCollector } from '../../demo/collect.ts'
import type { Reading } from '../../demo/reading.ts'
import { copySample, hintsFor, sampleDirOf } from '../../demo/sample.ts'
import { type Summary, summarise, summaryLines } from '../../demo/summary.ts'
import { plainLine, type View, viewLines } from '../../demo/view.ts'
import type { MeshEvent } from '../../standalone/event.ts'
import { openStandalone } from '../../standalone/open-standalone.ts'
import { stateDirOf } from '../../standalone/state-dir.ts'
import { type Command, type ExitCode, type Input, type Io, textOption } from '../command.ts'
import { parseForOption } from '../duration.ts'
import { OUTPUT_OPTION, type OutputFormat, outputFormat, paint } from '../output.ts'
import { STATE_OPTION } from '../state-option.ts'

const TITLE = 'Redoubt: quote of the moment, every hop mTLS, every request decided'

/** `redoubt demo`, which `npm start` runs: the sample mesh with a live view of it. */
export const demo: Command = {
  name: 'demo',
  summary: 'run the quote-of-the-moment sample and watch it',
  options: [
    {
      flags: '--for <duration>',
      summary: 'end by itself so long after it is ready, with a summary, e.g. 20s',
    },
    STATE_OPTION,
    OUTPUT_OPTION,
  ],
  examples: [
    { what: 'Watch it until Ctrl-C', command: 'redoubt demo' },
    {
      what: 'Run it for 20 s; the last line is the summary as JSON',
      command: 'redoubt demo --for 20s --output json',
    },
  ],
  async run(io, input, signal) {
    const lastsMs = parseForOption(textOption(input, 'for'))
    const screen = createScreen(io, outputFormat(input))
    const stateDir = stateDirOf(textOption(input, 'state'), io.env, io.cwd)
    screen.note('Starting the sample mesh …')
    await using mesh = await openStandalone(
      {
        paths: [sampleDirOf(stateDir)],
        state: stateDir,
        prepare: () => copySample(sampleDirOf(stateDir)),
        onEvent: screen.event,
      },
      io,
      signal,
    )
    const get = (url: string, until: AbortSignal) => getText(url, until)
    const collect = createCollector(mesh.readyLine, { get, nowMs: io.clock.nowMs })
    const hints = hintsFor(mesh.readyLine(), {
      cwd: io.cwd,
      stateDir,
      standardState: textOption(input, 'state') === undefined,
    })
    const { first, last } = await watch(collect, { io, lastsMs, signal }, (newest, earlier) =>
      screen.draw({
        title: TITLE,
        newest,
        earlier,
        nowMs: io.now().epochMilliseconds,
        columns: io.columns,
        hints,
        events: screen.events(),
        paint: (style, text) => paint(io, style, text),
      }),
    )
    screen.done()
    return conclude(io, input, Number.isFinite(lastsMs), { first, last })
  },
}

/** Milliseconds between two drawings, and the span that rates are reckoned over. */
const DRAW_MS = 500
const SPAN_MS = 5000

interface Watching {
  readonly io: Io
  /** From now; may be infinite. */
  readonly lastsMs: number
  readonly signal: AbortSignal
}

/** Reads and draws until the time is over or `signal` aborts; what was read first and last. */
async function watch(
  collect: Collect,
  { io, lastsMs, signal }: Watching,
  draw: (newest: Reading, earlier: Reading) => void,
): Promise<{ readonly first: Reading; readonly last: Reading }> {
  const endMs = io.clock.nowMs() + lastsMs
  // Readings end by themselves soon; an end of the demo must not cut the last one short.
  const patience = () => AbortSignal.timeout(2000)
  const first = await collect(patience())
  const recent = [first]
  while (!signal.aborted && io.clock.nowMs() < endMs) {
    const waitMs = Math.min(DRAW_MS, Math.max(0, endMs - io.clock.nowMs()))
    await io.clock.sleep(waitMs, signal).catch(() => {}) // The signal is an end too.
    const newest = await collect(patience())
    recent.push(newest)
    while ((recent[1]?.atMs ?? newest.atMs) < newest.atMs - SPAN_MS) recent.shift()
    draw(newest, recent[0] ?? first)
  }
  return { first, last: recent.at(-1) ?? first }
}

async function getText(url: string, signal: AbortSignal): Promise<string> {
  const response = await fetch(url, { signal })
  const text = await response.text()
  if (response.status !== 200) throw new Error(`${url} answered ${response.status}`)
  return text
}

function conclude(
  io: Io,
  input: Input,
  timed: boolean,
  { first, last }: { readonly first: Reading; readonly last: Reading },
): ExitCode {
  const summary: Summary = summarise(first, last)
  if (outputFormat(input) !== 'text') io.out(JSON.stringify(summary))
  else if (timed) for (const line of summaryLines(summary, last)) io.out(line)
  // Without a time it was stopped on purpose, maybe before anything could rotate.
  return timed && summary.failures.length > 0 ? 1 : 0
}

interface Screen {
  readonly note: (line: string) => void
  readonly event: (event: MeshEvent) => void
  readonly events: () => readonly string[]
  readonly draw: (view: View) => void
  readonly done: () => void
}

const EVENTS_SHOWN = 4
const PLAIN_EVERY_MS = 1000

/** A terminal is redrawn; anything else gets a plain line a second, on standard error if results are machine-readable. */
function createScreen(io: Io, format: OutputFormat): Screen {
  const redraws = io.isTerminal && format === 'text'
  const say = format === 'text' ? io.out : io.err
  const events: string[] = []
  let nextPlainMs = 0
  return {
    note: say,
    events: () => events,
    event({ time, event, workload = '', detail }) {
      const line = `${time.slice(11, 19)}  ${event.padEnd(9)} ${workload.padEnd(15)} ${detail}`
      if (!redraws && event !== 'denied') return say(line)
      if (event === 'denied') return undefined // The screen counts them.
      events.push(line.slice(0, io.columns - 1))
      if (events.length > EVENTS_SHOWN) events.shift()
      return undefined
    },
    draw(view) {
      if (redraws) return logUpdate(viewLines(view).join('\n'))
      if (view.newest.atMs < nextPlainMs) return
      if (nextPlainMs === 0) {
        for (const { what, command } of view.hints) say(`try: ${command}   # ${what}`)
      }
      nextPlainMs = view.newest.atMs + PLAIN_EVERY_MS
      say(plainLine(view))
    },
    done() {
      if (redraws) logUpdate.done()
    },
  }
}
