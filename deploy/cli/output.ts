/** How commands print: `--output text|json|yaml`, colours that obey `NO_COLOR`. */
import { styleText } from 'node:util'
import { stringify } from 'yaml'

import { type CommandOption, type Input, type Io, textOption } from './command.ts'

export type OutputFormat = 'text' | 'json' | 'yaml'

/** The option that every command with results has. */
export const OUTPUT_OPTION: CommandOption = {
  flags: '-o, --output <format>',
  summary: 'how to print results',
  choices: ['text', 'json', 'yaml'],
  default: 'text',
}

/** The format asked for. */
export function outputFormat(input: Input): OutputFormat {
  const format = textOption(input, 'output')
  return format === 'json' || format === 'yaml' ? format : 'text'
}

/** Prints `value` as one line of JSON, as a YAML document, or as the lines of `text`. */
export function print(
  io: Io,
  format: OutputFormat,
  value: unknown,
  text: () => readonly string[],
): void {
  if (format === 'json') io.out(JSON.stringify(value))
  else if (format === 'yaml') io.out(`---\n${stringify(value).trimEnd()}`)
  else for (const line of text()) io.out(line)
}

/** A colour or weight of `node:util`'s `styleText`. */
export type Style = Parameters<typeof styleText>[0]

/** `text` in a style where colours are wanted, else as it is. */
export function paint({ colour }: Pick<Io, 'colour'>, style: Style, text: string): string {
  return colour ? styleText(style, text, { validateStream: false }) : text
}

/** The marks of a report, in colours where those are wanted. */
export function styleOf(io: Pick<Io, 'colour'>): Marks {
  return {
    bold: (text) => paint(io, 'bold', text),
    dim: (text) => paint(io, 'dim', text),
    good: (text) => paint(io, 'green', text),
    warn: (text) => paint(io, 'yellow', text),
    bad: (text) => paint(io, 'red', text),
  }
}

type Marks = Readonly<Record<'bold' | 'dim' | 'good' | 'warn' | 'bad', (text: string) => string>>
