/**
 * What an operator's matcher may call. Each takes time linear in its texts and none remembers: Casbin's own
 * `keyMatch…` and `regexMatch` are not among them (reference §4.10: a regular expression of 27 characters took 5 s).
 */
import { blockHas, readAddress, readBlock } from '../../model/index.ts'
import { compileTemplate, isTemplate } from '../template.ts'
import { compileGlob } from '../text.ts'

export interface OperatorFunction {
  readonly parameters: number
  readonly call: (...values: readonly unknown[]) => boolean
}

/** A value as text: columns of lines are text always, an attribute may be a number. */
function text(value: unknown): string {
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : ''
}

function two(call: (one: string, other: string) => boolean): OperatorFunction {
  return { parameters: 2, call: (one, other) => call(text(one), text(other)) }
}

export const FUNCTIONS: ReadonlyMap<string, OperatorFunction> = new Map([
  ['startsWith', two((whole, part) => part !== '' && whole.startsWith(part))],
  ['endsWith', two((whole, part) => part !== '' && whole.endsWith(part))],
  ['contains', two((whole, part) => part !== '' && whole.includes(part))],
  // Each `*` stands for any text.
  ['globMatch', two((whole, pattern) => compileGlob(pattern)(whole))],
  // As in AuthorizationPolicy: `{*}` one segment, `{**}` any number.
  [
    'pathMatch',
    two((path, wanted) => (isTemplate(wanted) ? compileTemplate(wanted)(path) : path === wanted)),
  ],
  ['ipInRange', two(isInRange)],
  // One of a list that is separated by commas or blanks, as in a header.
  ['inList', two((one, list) => one !== '' && list.split(/[,\s]+/).includes(one))],
])

function isInRange(address: string, block: string): boolean {
  const bytes = readAddress(address)
  const range = readBlock(block)
  return bytes !== undefined && range !== undefined && blockHas(range, bytes)
}
