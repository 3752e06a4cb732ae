/** ca/inspect/README.md shows what is so: each command is run, and the rules are those that there are. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import test from 'ava'

import { RULES, TOKEN_RULES } from '#ca/inspect/index.ts'
import type { Command } from '#deploy/cli/command.ts'
import { loadCommands } from '#deploy/cli/commands/index.ts'
import { runCommand } from '#test/fakes/fake-io.ts'

const README = readFileSync('ca/inspect/README.md', 'utf8')
const cwd = join(import.meta.dirname, '../../fixtures/inspect')
const commands = await loadCommands('cert')

interface Shown {
  readonly line: string
  readonly out: string
}

/** `$ redoubt …` and what stands below it, in each block. */
const shown: readonly Shown[] = [...README.matchAll(/^```\n\$ redoubt (.*)\n([^`]*)```$/gm)].map(
  ([, line = '', out = '']) => ({ line, out: out.trimEnd() }),
)

test('README shows each of the commands that have an output', (t) => {
  const verbs = new Set(shown.map(({ line }) => line.split(' ')[1] ?? ''))
  t.deepEqual([...verbs].sort(), ['diff', 'inspect', 'verify'])
})

for (const { line, out } of shown) {
  test(`README is true: redoubt ${line}`, async (t) => {
    const [noun, verb, ...words] = line.split(' ')
    const command = commands.find(({ name }) => name === `${noun} ${verb}`)
    if (!command) return t.fail('there is no such command')
    const now = () => Temporal.Instant.from('2026-11-21T12:00:00Z')
    const { out: said } = await runCommand(command, { cwd, now, ...parsed(command, words) })
    t.is(said.replace(/ +$/gm, ''), out)
  })
}

/** As commander reads them, as far as the README goes: `--name value`. */
function parsed(command: Command, words: readonly string[]) {
  const options: Record<string, unknown> = {}
  const places: string[] = []
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? ''
    const option = command.options?.find(({ flags }) => flags.includes(`${word} `))
    if (!word.startsWith('--') || !option) places.push(word)
    else {
      const name = word.slice(2).replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())
      at += 1
      options[name] = option.repeat ? [words[at]] : words[at]
    }
  }
  return { arguments: places, options }
}

test('README lists every rule with its clause', (t) => {
  const rows = [...README.matchAll(/^\| `([a-z0-9-]+)` \| (error|warning|info) \| ([^|]+) \|$/gm)]
  t.deepEqual(
    rows.map(([, rule, severity, source]) => [rule, severity, source]),
    [...RULES, ...TOKEN_RULES].map(({ rule, severity, source }) => [rule, severity, source]),
  )
  t.true(
    readFileSync('README.md', 'utf8').includes(`[${RULES.length} rules](ca/inspect/README.md)`),
  )
})
