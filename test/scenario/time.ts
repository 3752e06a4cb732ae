/** Time of a scenario: it moves when the story says so, and the sockets are real. */
import { setTimeout as realSleep } from 'node:timers/promises'
import { FakeClock } from '#test/fakes/fake-clock.ts'

/** When every story begins. */
const EPOCH = Temporal.Instant.from('2026-11-21T12:00:00Z')
/** Fake milliseconds between two looks at the real world. */
const STEP_MS = 250
/** Fake milliseconds of one step of waiting: short at first, and longer for what waits for seconds of time. */
const waitStepMs = (waitedMs: number): number => (waitedMs < 2000 ? 10 : 50)
/** Real milliseconds that sockets get after each step. */
const SETTLE_MS = 3
/** Real milliseconds that time waits for work under way, which may itself be waiting for time. */
const GATE_MS = 100
/** Real milliseconds after which a story that does not go on has failed. */
const PATIENCE_MS = 20_000

export interface StoryTime {
  readonly clock: FakeClock
  readonly now: () => Temporal.Instant
  /** Moves time on in steps (of 250 ms unless told otherwise), with room for real sockets to work in between. */
  readonly pass: (ms: number, stepMs?: number) => Promise<void>
  /** Moves time on until `holds`, and says how many fake milliseconds that took. */
  readonly until: (holds: () => boolean, what: string) => Promise<number>
  /** Moves time on until `work` is done. */
  readonly during: <Result>(work: Promise<Result>) => Promise<Result>
  /** Asked for after each step: time does not run ahead of work that is under way. */
  readonly gates: Set<() => Promise<void>>
}

export function createStoryTime(): StoryTime {
  const clock = new FakeClock()
  const gates = new Set<() => Promise<void>>()
  const step = async (ms: number): Promise<void> => {
    await clock.advance(ms)
    await realSleep(SETTLE_MS)
    if (gates.size === 0) return
    const passed = Promise.all([...gates].map((gate) => gate()))
    await Promise.race([passed, realSleep(GATE_MS, undefined, { ref: false })])
  }
  return {
    clock,
    gates,
    now: () => EPOCH.add({ milliseconds: Math.round(clock.nowMs()) }),
    async pass(ms, stepMs = STEP_MS) {
      for (let left = ms; left > 0; left -= stepMs) await step(Math.min(left, stepMs))
    },
    async during(work) {
      let done = false
      const settled = work.finally(() => {
        done = true
      })
      settled.catch(() => {}) // the caller hears of it below
      const startMs = clock.nowMs()
      while (!done) await step(waitStepMs(clock.nowMs() - startMs))
      return settled
    },
    async until(holds, what) {
      const startMs = clock.nowMs()
      const endMs = performance.now() + PATIENCE_MS
      while (!holds()) {
        if (performance.now() > endMs) {
          throw new Error(`waited ${(clock.nowMs() - startMs) / 1000} fake s for ${what} in vain`)
        }
        await step(waitStepMs(clock.nowMs() - startMs))
      }
      return clock.nowMs() - startMs
    },
  }
}
