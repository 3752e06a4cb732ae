/** Random sets for the oracle, and its answers. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import type { OracleAnswer, OracleCase, OracleSetNote } from './cases.ts'

export interface Wanted {
  readonly seed: number
  readonly sets: number
  readonly requests: number
}

/**
 * Of the generator in the folder `source`: most of all kinds of policies; a seventh of
 * PeerAuthentications alone, which are rare otherwise.
 */
export async function generate(
  source: string,
  { seed, sets, requests }: Wanted,
): Promise<readonly OracleCase[]> {
  const alone = Math.floor(sets / 7)
  const parts = [
    ['mix', sets - alone, seed],
    ['pa', alone, (seed + 1) >>> 0],
  ] as const
  const made = await Promise.all(
    parts.map(([kind, some, from]) =>
      promisify(execFile)(
        process.execPath,
        [
          `${source}/gen/gen.mjs`,
          ...['--kind', kind, '--seed', `${from}`],
          ...['--sets', `${some}`, '--requests', `${requests}`],
        ],
        { maxBuffer: 2 ** 30 },
      ),
    ),
  )
  return made.flatMap(({ stdout }) =>
    stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as OracleCase),
  )
}

export interface Answers {
  /** By `set/request`. */
  readonly answers: ReadonlyMap<string, OracleAnswer>
  /** By set. */
  readonly notes: ReadonlyMap<string, OracleSetNote>
}

/** Puts `cases` to the programs in `bin`. */
export async function askOracle(bin: string, cases: readonly OracleCase[]): Promise<Answers> {
  const child = spawn(`${bin}/oracle-eval`, ['eval', '-heads', '-'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = once(child, 'close')
  child.stdin.end(cases.map((one) => JSON.stringify(one)).join('\n'))
  const answers = new Map<string, OracleAnswer>()
  const notes = new Map<string, OracleSetNote>()
  for await (const line of createInterface({ input: child.stdout })) {
    const read = JSON.parse(line) as OracleAnswer | OracleSetNote
    if ('decision' in read) answers.set(`${read.set}/${read.id}`, read)
    else notes.set(read.set, read)
  }
  await ended
  return { answers, notes }
}
