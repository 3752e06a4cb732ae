/**
 * The head of an HTTP/2 request, read by the codec that reads HTTP/1: whatever decides on a request sees one
 * kind of head, and what that codec refuses is refused in HTTP/2 too.
 *
 * @see RFC 9113 §8.2, §8.3
 */
import { cookieOfCrumbs } from '#policy/model/index.ts'
import { FRAMING } from '../http/body.ts'
import { RequestHead } from '../http/request-head.ts'
import { hasNoPlace } from './fields.ts'

/** A request as it came: names and values in turn, latin1, so that one character is one byte. */
export interface StreamFields {
  readonly raw: readonly string[]
  /** Whether there is no body. */
  readonly isWhole: boolean
}

export type ReadRequest =
  | {
      readonly kind: 'read'
      readonly head: RequestHead
      /** Whether the caller reads trailers, which gRPC servers ask for. */
      readonly takesTrailers: boolean
      /** Whether it says that trailers follow its body. */
      readonly announcesTrailers: boolean
    }
  | { readonly kind: 'refused'; readonly fault: string }

/** Reads `fields` into `head`. */
export function readStreamRequest(
  { raw, isWhole }: StreamFields,
  head: RequestHead = new RequestHead(),
): ReadRequest {
  const said = collect(raw)
  if (typeof said === 'string') return refused(said)
  const { method, path, authority, hosts, crumbs } = said
  const target = method === 'CONNECT' ? authority : path
  if (target === undefined || (method !== 'CONNECT' && !/^(\/|\*$)/.test(target))) {
    return refused('path-malformed')
  }
  let lines = said.lines
  let count = said.count
  // What says where a request goes is `:authority`; `host` stands for it where there is none (§8.3.1).
  for (const host of authority === undefined ? hosts : [authority]) {
    lines = `host: ${host}\r\n${lines}`
    count += 1
  }
  for (const cookie of cookieOfCrumbs(crumbs)) {
    lines += `cookie: ${cookie}\r\n`
    count += 1
  }
  if (!isWhole && !said.hasLength && method !== 'CONNECT') {
    lines += 'transfer-encoding: chunked\r\n'
    count += 1
  }
  const bytes = Buffer.from(`${method} ${target} HTTP/1.1\r\n${lines}\r\n`, 'latin1')
  const end = head.read(bytes, 0, bytes.length)
  if (end < 0) return refused(head.fault)
  // A value that ends its line would make another line, or another request.
  if (end !== bytes.length || head.fields.count !== count) return refused('field-value-malformed')
  if (isWhole && head.framing !== FRAMING.none) return refused('length-without-body')
  const { takesTrailers, announcesTrailers } = said
  return { kind: 'read', head, takesTrailers, announcesTrailers }
}

function refused(fault: string): ReadRequest {
  return { kind: 'refused', fault }
}

interface Said {
  method: string
  path: string | undefined
  authority: string | undefined
  readonly hosts: string[]
  /** Of `cookie`, which may come in pieces (§8.2.3). */
  readonly crumbs: string[]
  /** All other fields. */
  lines: string
  count: number
  hasLength: boolean
  takesTrailers: boolean
  announcesTrailers: boolean
}

/** Sorts the fields; a text says why they are no request. */
function collect(raw: readonly string[]): Said | string {
  const said: Said = {
    method: '',
    path: undefined,
    authority: undefined,
    hosts: [],
    crumbs: [],
    lines: '',
    count: 0,
    hasLength: false,
    takesTrailers: false,
    announcesTrailers: false,
  }
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] as string
    const value = raw[at + 1] as string
    if (name.startsWith(':')) {
      if (!notePseudo(said, name, value)) return 'pseudo-field-malformed'
    } else if (name.includes(':')) return 'field-name-malformed'
    else if (name === 'te') said.takesTrailers = value.toLowerCase() === 'trailers'
    else if (name === 'trailer') said.announcesTrailers = true
    else if (hasNoPlace(name)) return 'field-hop-by-hop'
    else note(said, name, value)
  }
  return said
}

function notePseudo(said: Said, name: string, value: string): boolean {
  if (name === ':method' && said.method === '') said.method = value
  else if (name === ':path' && said.path === undefined) said.path = value
  else if (name === ':authority' && said.authority === undefined) said.authority = value
  else return name === ':scheme'
  return true
}

function note(said: Said, name: string, value: string): void {
  if (name === 'host') said.hosts.push(value)
  else if (name === 'cookie') said.crumbs.push(value)
  else {
    if (name === 'content-length') said.hasLength = true
    said.lines += `${name}: ${value}\r\n`
    said.count += 1
  }
}
