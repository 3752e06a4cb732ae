/**
 * Names and values as Istio's validation accepts them (istio-semantics §0.3). Each function says
 * what is wrong with a text, or `undefined`; `parse…` ones return the value or `undefined`.
 */

import { RE2JS } from 're2js'

const LABEL = /^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$/
const WILDCARD_LABEL = /^(\*|(\*|\*-)?[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)$/
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const PSEUDO_HEADERS = [':method', ':scheme', ':authority', ':path', ':status']

export function isDnsLabel(text: string): boolean {
  return text.length <= 63 && LABEL.test(text)
}

/** A Kubernetes object name: DNS subdomain, lower case, at most 253 characters. */
export function objectNameFault(text: string): string | undefined {
  if (/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(text) && text.length <= 253) return undefined
  return `found ${JSON.stringify(text)}, expected a name of at most 253 characters of [a-z0-9.-] that begins and ends with a letter or digit`
}

/** A name that becomes part of a SPIFFE ID or a host: DNS label, lower case. */
export function labelNameFault(text: string): string | undefined {
  if (text.length <= 63 && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(text)) return undefined
  return `found ${JSON.stringify(text)}, expected a name of at most 63 characters of [a-z0-9-] that begins and ends with a letter or digit`
}

export function dnsLabelFault(text: string): string | undefined {
  return isDnsLabel(text)
    ? undefined
    : `found ${JSON.stringify(text)}, expected a DNS label: at most 63 letters, digits and dashes`
}

export function fqdnFault(text: string): string | undefined {
  return domainFault(text, LABEL, 0)
}

/** An FQDN whose first label may be `*`, `*foo` or `*-foo`, or only digits when it stands alone. */
export function wildcardDomainFault(text: string): string | undefined {
  return domainFault(text, WILDCARD_LABEL, 1)
}

/** @param digits - Labels from here on may not end the name with digits only. */
function domainFault(text: string, firstLabel: RegExp, digits: number): string | undefined {
  const wrong = (why: string): string =>
    `found ${JSON.stringify(text)}, expected a host name: ${why}`
  if (text === '') return wrong('it is empty')
  if (Buffer.byteLength(text) > 255) return wrong('it is longer than 255 characters')
  const labels = text.split('.')
  const last = labels.at(-1) ?? ''
  if (labels.length > digits && /^\d+$/.test(last)) return wrong('its last label is only digits')
  // One dot at the end is for names that are complete.
  const named = labels.length > 1 && last === '' ? labels.slice(0, -1) : labels
  for (const [index, label] of named.entries()) {
    const pattern = index === 0 ? firstLabel : LABEL
    if (label.length > 63 || !pattern.test(label))
      return wrong(`its label ${JSON.stringify(label)} is not one`)
  }
  return undefined
}

/** Octets of an IPv4 address without leading zeros, as Go's netip reads it. */
function parseIpv4(text: string): readonly number[] | undefined {
  const octets = text.split('.')
  if (octets.length !== 4) return undefined
  if (!octets.every((octet) => /^(0|[1-9]\d{0,2})$/.test(octet) && Number(octet) <= 255))
    return undefined
  return octets.map(Number)
}

function isIpv6(text: string): boolean {
  const [address = '', zone, ...more] = text.split('%')
  if (more.length > 0 || zone === '') return false
  const halves = address.split('::')
  if (halves.length > 2) return false
  const groups = halves.flatMap((half) => (half === '' ? [] : half.split(':')))
  const tail = groups.at(-1)
  const embedded = tail?.includes('.') === true
  if (embedded && !(parseIpv4(tail) && !address.endsWith(':'))) return false
  const hex = embedded ? groups.slice(0, -1) : groups
  if (!hex.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group))) return false
  const size = hex.length + (embedded ? 2 : 0)
  return halves.length === 2 ? size < 8 : size === 8
}

export function isIp(text: string): boolean {
  return parseIpv4(text) !== undefined || isIpv6(text)
}

/** An address or a CIDR block; host bits may be set. */
export function subnetFault(text: string): string | undefined {
  const [address = '', bits, ...more] = text.split('/')
  const maxBits = parseIpv4(address) ? 32 : isIpv6(address) ? 128 : undefined
  const wrong = `found ${JSON.stringify(text)}, expected an IP address or a CIDR block such as 10.0.0.0/8`
  if (maxBits === undefined || more.length > 0) return wrong
  if (bits === undefined) return undefined
  if (address.includes('%')) return `${wrong}: a zone has no place in a block`
  return /^(0|[1-9]\d{0,2})$/.test(bits) && Number(bits) <= maxBits
    ? undefined
    : `${wrong}: its prefix length is not in 0..${maxBits}`
}

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
}

/** A Go duration such as `1h30m` or `2.5s`, in milliseconds; `undefined` when it is none. */
export function parseDurationMs(text: string): number | undefined {
  if (text === '0') return 0
  if (!/^[-+]?((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))+$/.test(text)) return undefined
  let totalMs = 0
  for (const [, amount = '', unit = ''] of text.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)/g)) {
    totalMs += Number(amount) * (UNIT_MS[unit] ?? 0)
  }
  const signed = text.startsWith('-') ? -totalMs : totalMs
  return Math.abs(signed - Math.round(signed)) < 1e-7 ? Math.round(signed) : signed
}

/** At least 1 ms and whole milliseconds; `zero` also lets 0 through. */
export function durationFault(
  text: string,
  { zero = false }: { readonly zero?: boolean } = {},
): string | undefined {
  const ms = parseDurationMs(text)
  const wrong = `found ${JSON.stringify(text)}, expected a duration such as 10s, 1h or 500ms`
  if (ms === undefined) return wrong
  if (zero && ms === 0) return undefined
  if (ms < 1) return `${wrong}: at least 1ms`
  return Number.isInteger(ms) ? undefined : `${wrong}: whole milliseconds`
}

/** A header name that a route may match or change. */
export function headerNameFault(name: string): string | undefined {
  if (TOKEN.test(name) || PSEUDO_HEADERS.includes(name)) return undefined
  return `found ${JSON.stringify(name)}, expected a header name`
}

/** A literal, `%%`, `%NAME%`, `%NAME(argument)%` or `%NAME(["argument", …])%`; a backslash escapes in arguments. */
const WITH_VARIABLES =
  /^(?:[^%]|%%|%[^%(]*(?:%|\( *(?:\[ *"|[^ [])(?:\\.|[^\\)"])*(?:" *, *"(?:\\.|[^\\)"])*)*(?:\)|" *\] *\)) *%))*$/

/** A header value to set: no control characters, every `%` doubled or part of a `%NAME%`. */
export function headerValueFault(value: string): string | undefined {
  if (Array.from(value).some((character) => character !== '\t' && isControl(character))) {
    return `found ${JSON.stringify(value)}, expected a header value without control characters`
  }
  return WITH_VARIABLES.test(value)
    ? undefined
    : `found ${JSON.stringify(value)}, expected each % to be doubled or to enclose a %NAME%`
}

/** Whether `value`, without fault, has variables that the proxy would fill in. */
export function hasVariables(value: string): boolean {
  return value.replaceAll('%%', '').includes('%')
}

/** A character that no text of HTTP may have; a tab may stand in values. */
export function isControl(character: string): boolean {
  return character < ' ' || character === '\u007f'
}

/** Completes a short name with `namespace` (§5.1) and folds its case; names with a dot stay. */
export function completeHost(host: string, namespace: string): string {
  const folded = host.toLowerCase().replace(/\.$/, '')
  return folded.includes('.') || folded.startsWith('*')
    ? folded
    : `${folded}.${namespace}.svc.cluster.local`
}

/** A regular expression: not empty, at most 1024 bytes, and RE2's syntax. */
export function regexFault(pattern: string): string | undefined {
  if (pattern === '') return 'it is empty: expected a regular expression'
  if (Buffer.byteLength(pattern) > 1024) return 'it is longer than 1024 bytes'
  try {
    RE2JS.compile(pattern)
    return undefined
  } catch (cause) {
    return `found ${JSON.stringify(pattern)}, expected a regular expression in RE2 syntax: ${cause instanceof Error ? cause.message : cause}`
  }
}
