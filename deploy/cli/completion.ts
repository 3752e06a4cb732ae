/** Completion of a shell's command line: scripts for bash, zsh and fish, and the suggestions that they ask for. */
import { readdirSync } from 'node:fs'
import { resolve } from 'node:path'

import type { Command } from 'commander'

/** What the help says of it. */
export const COMPLETE_SUMMARY = 'print a script for completion: bash, zsh or fish'

/** The word by which a user asks for a script, and a script for suggestions. */
export const COMPLETE = 'complete'

/**
 * Adds `redoubt complete bash|zsh|fish`, which prints a script, and `redoubt complete -- WORDS…`,
 * which the script runs at each press of the key. Commands, options and their choices are read from
 * `program`; where a file is wanted, files are suggested.
 *
 * @param word - The one that is being typed.
 */
export async function addCompletion(program: Command, cwd: string, word: string): Promise<void> {
  const { default: tab } = (await import(TAB)) as { readonly default: Tab }
  const { commands } = tab(program)
  const suggestFiles: Suggest = (suggest) => {
    for (const file of filesLike(cwd, word)) suggest(file, '')
  }
  for (const [name, { options, arguments: places }] of commands) {
    const of = name.split(' ').reduce<Command | undefined>(commandOf, program)
    for (const [place, argument] of places) {
      if (/FILE|PATH|DIR/.test(place)) argument.handler ??= suggestFiles
    }
    for (const option of of?.options ?? []) {
      const known = options.get(option.long?.slice(2) ?? '')
      if (known && TAKES_A_FILE.test(option.flags)) known.handler = suggestFiles
    }
  }
  commandOf(program, COMPLETE)?.description(COMPLETE_SUMMARY).addHelpText('after', EXAMPLES)
}

/** `<file>`, `<[domain=]file>`, `<dir>`, …, as our options are written. */
const TAKES_A_FILE = /<(\[\w+=\])?(file|dir|path|socket)>/

/** Named apart, so that types are checked where this optional convenience is not installed. */
const TAB = '@bomb.sh/tab/commander'

/** As much of the package as is used: what it has read from a program, to be added to. */
type Tab = (program: Command) => {
  readonly commands: ReadonlyMap<
    string,
    {
      readonly options: ReadonlyMap<string, { handler?: Suggest }>
      readonly arguments: ReadonlyMap<string, { handler?: Suggest }>
    }
  >
}

type Suggest = (suggest: (value: string, description: string) => void) => void

function commandOf(parent: Command | undefined, name: string): Command | undefined {
  return parent?.commands.find((command) => command.name() === name)
}

/** Files that begin as `word` does, folders with a slash at their end; those with a dot only if it has one. */
function filesLike(cwd: string, word: string): readonly string[] {
  const [, folder = '', start = ''] = /^(.*\/)?([^/]*)$/s.exec(word) ?? []
  try {
    return readdirSync(resolve(cwd, folder || '.'), { withFileTypes: true })
      .filter(({ name }) => name.startsWith(start) && (start !== '' || !name.startsWith('.')))
      .map((entry) => `${folder}${entry.name}${entry.isDirectory() ? '/' : ''}`)
      .sort()
  } catch {
    return [] // there is no such folder: there is nothing to suggest
  }
}

const EXAMPLES = `
Examples:
  # In this bash, and in each that is started after
  $ source <(redoubt ${COMPLETE} bash); echo 'source <(redoubt ${COMPLETE} bash)' >> ~/.bashrc
  # The same for fish; for zsh: redoubt ${COMPLETE} zsh > "\${fpath[1]}/_redoubt"
  $ redoubt ${COMPLETE} fish > ~/.config/fish/completions/redoubt.fish
`
