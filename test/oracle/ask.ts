/** Random sets for the oracle, and its answers. */
import { execFile, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
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

/** It may find its ports taken, or be ended; what it then did not say it says when asked again. */
const MAX_TRIES = 2
/** Milliseconds for all of a run's sets, on a machine with other work too. */
const LONGEST_MS = 420_000

/**
 * Puts `cases` to the programs in `bin`.
 *
 * @throws {Error} when they do not answer all: that is no difference, and nothing was compared
 */
export async function askOracle(bin: string, cases: readonly OracleCase[]): Promise<Answers> {
  let last = ''
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const { ended, said, ...asked } = await askOnce(bin, placed(cases))
    const wanted = cases.reduce((sum, { requests }) => sum + requests.length, 0)
    if (ended === 0 && asked.answers.size === wanted) return asked
    last = `it ended with ${ended} after ${asked.answers.size} of ${wanted} answers: ${said}`
  }
  throw new Error(`Could not ask the oracle, so that nothing was compared: ${last}`)
}

async function askOnce(bin: string, cases: readonly OracleCase[]) {
  const child = spawn(`${bin}/oracle-eval`, ['eval', '-heads', '-'], {
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: LONGEST_MS,
    killSignal: 'SIGKILL',
  })
  const ended = once(child, 'close') as Promise<[number | null, string | null]>
  let said = ''
  child.stderr.on('data', (bytes: Buffer) => {
    said = (said + bytes.toString()).slice(-1000)
  })
  // One that ends early takes no more; how it ended is told below.
  child.stdin.on('error', () => {})
  child.stdin.end(cases.map((one) => JSON.stringify(one)).join('\n'))
  const answers = new Map<string, OracleAnswer>()
  const notes = new Map<string, OracleSetNote>()
  for await (const line of createInterface({ input: child.stdout })) {
    const read = JSON.parse(line) as OracleAnswer | OracleSetNote
    if ('decision' in read) answers.set(`${read.set}/${read.id}`, read)
    else notes.set(read.set, read)
  }
  const [code, signal] = await ended
  return { answers, notes, ended: code ?? signal, said: said.trim() }
}

/** Addresses in 127.64.2.1 to 127.64.249.250, which policies on `destination.ip` take for one. */
const ADDRESSES = 248 * 250

/**
 * Each set at an address of its own that changes with every call. Two oracles on one machine would
 * otherwise listen at the same ones, and each answer half of what the other is asked.
 */
function placed(cases: readonly OracleCase[]): readonly OracleCase[] {
  const first = randomInt(ADDRESSES)
  return cases.map((one, index) => {
    const at = (first + index) % ADDRESSES
    const ip = `127.64.${2 + Math.floor(at / 250)}.${1 + (at % 250)}`
    return { ...one, target: { ...one.target, ip } }
  })
}
