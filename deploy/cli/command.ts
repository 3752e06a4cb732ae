/** What a command of `redoubt` is: data that `main.ts` turns into commander's terms, and a function. */
import type { Clock } from '#core/clock.ts'

/** 0: yes; 1: no (denied, faults found); 2: could not tell. */
export type ExitCode = 0 | 1 | 2

/** What a command may touch. Tests pass their own. */
export interface Io {
  readonly clock: Clock
  readonly now: () => Temporal.Instant
  /** Numbers in [0, 1). */
  readonly random: () => number
  /** Sends a signal to a process, or with a negative pid to a group. */
  readonly kill: (pid: number, signal: 'SIGTERM' | 'SIGKILL') => void
  /** One line (or several) to standard output, which carries results and nothing else. */
  readonly out: (line: string) => void
  /** One line to standard error: faults, notes, progress. */
  readonly err: (line: string) => void
  /** UTF-8 text of a file. */
  readonly readFile: (path: string) => Promise<string>
  /** All of standard input as UTF-8. */
  readonly readStdin: () => Promise<string>
  readonly env: Readonly<Record<string, string | undefined>>
  /** Absolute: relative paths of arguments start here. */
  readonly cwd: string
  /** This process. */
  readonly pid: number
  /** Absolute path of the Node that runs this, for child processes. */
  readonly execPath: string
  /** The user that runs this. */
  readonly uid: number
  /** Whether standard output is a terminal. */
  readonly isTerminal: boolean
  /** Whether to colour: a terminal, and `NO_COLOR` not set. */
  readonly colour: boolean
  /** Columns of the terminal; 80 when there is none. */
  readonly columns: number
}

/** An option. The key of its value is the long flag in camel case, as commander makes it. */
export interface CommandOption {
  /** As commander writes it: `-f, --file <path>`, `--json`, `--header <k=v>`. */
  readonly flags: string
  readonly summary: string
  /** May be given several times; its value is then a list of strings, and none when never given. */
  readonly repeat?: boolean
  readonly required?: boolean
  readonly choices?: readonly string[]
  readonly default?: string | boolean
}

export interface CommandArgument {
  /** `WORKLOAD`; `PATH...` takes the rest. */
  readonly name: string
  readonly summary: string
  readonly required?: boolean
}

/** What the user typed. */
export interface Input {
  /** Positional arguments, those of a `...` argument flattened in. */
  readonly arguments: readonly string[]
  /** By camel-case name: `string`, `boolean`, or `readonly string[]` for options that repeat. */
  readonly options: Readonly<Record<string, unknown>>
}

export interface Example {
  /** What it does, as a sentence without a full stop. */
  readonly what: string
  /** Works when pasted. */
  readonly command: string
}

export interface Command {
  /** Noun and verb, `cert inspect`; or one word, `up`. */
  readonly name: string
  /** One line, no full stop. */
  readonly summary: string
  readonly arguments?: readonly CommandArgument[]
  readonly options?: readonly CommandOption[]
  /** `--help` ends with them. */
  readonly examples: readonly [Example, Example]
  /**
   * Runs until done or until `signal` aborts (Ctrl-C, SIGTERM, end of the parent).
   *
   * @throws {Error} whatever it throws is shown as one line on standard error, and the exit code is 2
   */
  readonly run: (io: Io, input: Input, signal: AbortSignal) => Promise<ExitCode>
}

/** The text of an option, or `undefined` if it was not given. */
export function textOption({ options }: Input, name: string): string | undefined {
  const value = options[name]
  return typeof value === 'string' ? value : undefined
}

/** The values of an option that repeats. */
export function listOption({ options }: Input, name: string): readonly string[] {
  const value = options[name]
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
}

/** Whether a flag was given. */
export function flagOption({ options }: Input, name: string): boolean {
  return options[name] === true
}
