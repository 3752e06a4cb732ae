import type { HeaderOperations } from '#policy/model/index.ts'
import { ProxyError } from '../error.ts'

/** What header operations come to: lines to leave out, then lines to add. */
export interface HeaderEdits {
  /** Names in lower case. */
  readonly drop: readonly string[]
  /** Whole lines, each with its CRLF; '' for none. */
  readonly added: string
  /** New `Host`, from an operation on `:authority` or `Host`; only for requests. */
  readonly authority: string | undefined
}

/** Changes nothing. */
export const NO_EDITS: HeaderEdits = { drop: [], added: '', authority: undefined }

const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/
/** RFC 9110 §5.5 without obs-text: a value that cannot end its line. */
const VALUE = /^[\t\x20-\x7e]*$/

/**
 * Works operations out once, so that a request only drops and adds. They apply in the order given;
 * in each, `remove` comes first (istio-semantics §5.4). Names that start with `:` and `host` are
 * left alone, except that a request's new authority is told apart; of several the first one counts.
 *
 * @throws {ProxyError} `PROXY_CONFIG_INVALID` on a name or value that cannot stand in a header, and
 *   on a `%` variable, which is not supported
 */
export function compileHeaderEdits(
  operations: readonly (HeaderOperations | undefined)[],
): HeaderEdits {
  const drop = new Set<string>()
  let lines: (readonly [name: string, value: string])[] = []
  let authority: string | undefined
  const without = (name: string): void => {
    drop.add(name)
    lines = lines.filter(([other]) => other !== name)
  }
  for (const { set = {}, add = {}, remove = [] } of operations.filter((one) => one !== undefined)) {
    for (const name of remove.map(checkedName)) if (!isAuthority(name)) without(name)
    for (const [name, value] of checkedEntries(set)) {
      if (isAuthority(name)) authority ??= value
      else {
        without(name)
        lines.push([name, value])
      }
    }
    for (const [name, value] of checkedEntries(add)) {
      if (isAuthority(name)) authority ??= value
      else lines.push([name, value])
    }
  }
  if (drop.size === 0 && lines.length === 0 && authority === undefined) return NO_EDITS
  const added = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  return { drop: [...drop], added, authority }
}

function isAuthority(name: string): boolean {
  return name === 'host' || name.startsWith(':')
}

function checkedEntries(
  record: Readonly<Record<string, string>>,
): readonly (readonly [name: string, value: string])[] {
  return Object.entries(record)
    .map(([name, value]) => [checkedName(name), checkedValue(name, value)] as const)
    .filter(([name]) => !name.startsWith(':') || name === ':authority')
}

function checkedName(written: string): string {
  const name = written.toLowerCase()
  if (NAME.test(name) || name.startsWith(':')) return name
  throw new ProxyError(
    'PROXY_CONFIG_INVALID',
    `Cannot change header ${JSON.stringify(written)}: it has a character that no header name has`,
  )
}

function checkedValue(name: string, written: string): string {
  const value = written.replaceAll('%%', '')
  if (value.includes('%')) {
    throw new ProxyError(
      'PROXY_CONFIG_INVALID',
      `Cannot set header ${JSON.stringify(name)}: ${JSON.stringify(written)} has a variable, expected "%%" for a percent sign`,
    )
  }
  if (VALUE.test(value)) return written.replaceAll('%%', '%')
  throw new ProxyError(
    'PROXY_CONFIG_INVALID',
    `Cannot set header ${JSON.stringify(name)}: ${JSON.stringify(written)} has a character that no header value has`,
  )
}
