/** The `redoubt` program: the commands of `commands/` in commander's terms, and the process around them. */
import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { Command as Commander, CommanderError, Option } from 'commander'

import { systemClock, systemNow } from '../run/system-clock.ts'
import { untilStarterEnds } from '../standalone/parent-watch.ts'
import type { Command, CommandOption, ExitCode, Input, Io } from './command.ts'
import { loadCommands } from './commands/index.ts'
import { addCompletion, COMPLETE, COMPLETE_SUMMARY } from './completion.ts'
import { version } from './version.ts'

/** Runs one command line; resolves with the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  const ending = new AbortController()
  watchEnds(ending)
  let code: ExitCode = 0
  const program = new Commander('redoubt')
    .description('Identity and zero-trust layer of a service mesh')
    .version(await version(), '-V, --version')
    .exitOverride()
    .configureHelp({ helpWidth: 100, sortSubcommands: false })
    .addHelpText('after', examplesText(TOP_EXAMPLES))
  for (const command of await loadCommands(argv[0] ?? '')) {
    addCommand(program, command, async (input) => {
      code = await command.run(processIo(), input, ending.signal)
    })
  }
  if (argv[0] === COMPLETE) await addCompletion(program, process.cwd(), argv.at(-1) ?? '')
  else program.command(`${COMPLETE} [shell]`).description(COMPLETE_SUMMARY)
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return code
  } catch (cause) {
    // commander has already told the user; help and version come this way too.
    if (cause instanceof CommanderError) return cause.exitCode === 0 ? 0 : 2
    if (ending.signal.aborted) return 0
    process.stderr.write(`redoubt: ${cause instanceof Error ? cause.message : String(cause)}\n`)
    return 2
  } finally {
    ending.abort(new Error('it is done'))
  }
}

const TOP_EXAMPLES: Command['examples'] = [
  { what: 'See a mesh at work', command: 'redoubt demo' },
  {
    what: 'Start one around your own commands',
    command: 'redoubt init mesh && redoubt up -f mesh',
  },
]

function addCommand(
  program: Commander,
  command: Command,
  run: (input: Input) => Promise<void>,
): void {
  const words = command.name.split(' ')
  const parent = words.slice(0, -1).reduce((at, noun) => nounOf(at, noun), program)
  const added = parent
    .command(words.at(-1) ?? '')
    .description(command.summary)
    .addHelpText('after', examplesText(command.examples))
  for (const { name, summary, required } of command.arguments ?? []) {
    added.argument(required ? `<${name}>` : `[${name}]`, summary)
  }
  for (const option of command.options ?? []) added.addOption(commanderOption(option))
  added.action(async (...given: unknown[]) => {
    const positional = given.slice(0, -2).flat()
    await run({
      arguments: positional.filter((value) => typeof value === 'string'),
      options: added.opts(),
    })
  })
}

function nounOf(parent: Commander, noun: string): Commander {
  const known = parent.commands.find((command) => command.name() === noun)
  return known ?? parent.command(noun).description(NOUNS[noun] ?? noun)
}

const NOUNS: Readonly<Record<string, string>> = {
  ca: 'administer the certificate authority',
  log: "the CA's append-only log of certificates and calls",
  rotate: 'go from one root to the next in three steps, without an outage',
  cert: 'inspect, verify, compare, request and convert certificates, of this mesh or any other',
  authz: 'ask what authorization decides',
}

function commanderOption({ flags, summary, repeat, required, choices, ...rest }: CommandOption) {
  const notes = [...(required ? ['(required)'] : []), ...(repeat ? ['(repeatable)'] : [])]
  const option = new Option(flags, [summary, ...notes].join(' '))
  if (choices) option.choices([...choices])
  if (required) option.makeOptionMandatory()
  if (repeat) {
    option.argParser((value: string, before: readonly string[] | undefined) => [
      ...(before ?? []),
      value,
    ])
  }
  return rest.default === undefined ? option : option.default(rest.default)
}

function examplesText([first, second]: Command['examples']): string {
  const lines = [first, second].map(({ what, command }) => `  # ${what}\n  $ ${command}\n`)
  return `\nExamples:\n${lines.join('')}`
}

/** Ends come from a terminal, from `kill`, from the end of whoever started us, and of our reader. */
function watchEnds(ending: AbortController): void {
  const end = (): void => {
    // Told twice: at once. What then remains, the guard ends.
    if (ending.signal.aborted) process.exit(130)
    ending.abort(new Error('it was told to end'))
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, end)
  process.stdout.on('error', (cause: NodeJS.ErrnoException) => {
    if (cause.code === 'EPIPE') ending.abort(new Error('nobody reads its output'))
  })
  process.stderr.on('error', () => {}) // Nobody reads what is wrong; the exit code still tells.
  untilStarterEnds(process.pid, systemClock, ending.signal).then(
    () => ending.abort(new Error('who started it has ended')),
    () => {}, // Ended otherwise.
  )
}

function processIo(): Io {
  const { stdout, stderr, env } = process
  const isTerminal = stdout.isTTY === true
  return {
    clock: systemClock,
    now: systemNow,
    random: Math.random,
    kill: (pid, signal) => {
      process.kill(pid, signal)
    },
    out: (line) => stdout.write(`${line}\n`),
    err: (line) => stderr.write(`${line}\n`),
    readFile: (path) => readFile(path, 'utf8'),
    readStdin: () => text(process.stdin),
    env,
    cwd: process.cwd(),
    pid: process.pid,
    execPath: process.execPath,
    uid: process.getuid?.() ?? 0,
    isTerminal,
    colour: isTerminal && !env['NO_COLOR'],
    columns: stdout.columns || 80,
  }
}
