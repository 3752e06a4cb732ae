/** What a request of an operator's model can be made of, in the words of AuthorizationPolicy's conditions. */
import { serviceAccountOf } from '#ca/spiffe/index.ts'
import type { Connection, HttpAttributes } from '../../model/index.ts'

/** The whole request, for rules over several of its attributes: `r.req.method`. */
export interface RequestObject {
  readonly principal: string
  readonly namespace: string
  readonly serviceAccount: string
  readonly sourceIp: string
  readonly remoteIp: string
  readonly port: number
  readonly sni: string
  readonly method: string
  readonly path: string
  readonly host: string
  readonly headers: Readonly<Record<string, string>>
}

/** Fields of {@link RequestObject} that a matcher may name. */
export const OBJECT_FIELDS: readonly string[] = [
  'principal',
  'namespace',
  'serviceAccount',
  'sourceIp',
  'remoteIp',
  'port',
  'sni',
  'method',
  'path',
  'host',
]

/** One attribute of an attempt; what is absent is ''. */
export type ReadAttribute = (connection: Connection, http: HttpAttributes | undefined) => string

const account = ({ peer }: Connection) => peer && serviceAccountOf(peer)

const READERS: Readonly<Record<string, ReadAttribute>> = {
  'source.principal': ({ peer }) => (peer === undefined ? '' : peer.slice('spiffe://'.length)),
  'source.namespace': (connection) => account(connection)?.namespace ?? '',
  'source.serviceAccount': (connection) => account(connection)?.serviceAccount ?? '',
  'source.ip': ({ sourceIp }) => sourceIp,
  'remote.ip': ({ sourceIp }, http) => http?.remoteIp ?? sourceIp,
  'destination.port': ({ destinationPort }) => String(destinationPort),
  'connection.sni': ({ sni }) => sni ?? '',
  'request.method': (_connection, http) => http?.method ?? '',
  'request.path': (_connection, http) => http?.path ?? '',
  'request.host': (_connection, http) => http?.host ?? '',
}

/** Names of attributes, beside `request.headers[name]` and `request`, the whole of it. */
export const ATTRIBUTES: readonly string[] = Object.keys(READERS)

/** What a field of the request definition is when the manifest does not say. */
export const DEFAULT_ATTRIBUTES: Readonly<Record<string, string>> = {
  sub: 'source.principal',
  dom: 'source.namespace',
  obj: 'request.path',
  act: 'request.method',
  req: 'request',
}

const HEADER = /^request\.headers\[([!#$%&'*+.^_`|~0-9A-Za-z-]+)\]$/

/** Whether `name` is an attribute, a header or `request`. */
export function isAttribute(name: string): boolean {
  return name === 'request' || Object.hasOwn(READERS, name) || HEADER.test(name)
}

/** How to read an attribute other than `request`. Lines of a header are one value, joined with `,`. */
export function readerOf(name: string): ReadAttribute {
  const header = HEADER.exec(name)?.[1]?.toLowerCase()
  if (header !== undefined) return (_connection, http) => http?.header(header).join(',') ?? ''
  return READERS[name] ?? (() => '')
}

/** The whole request, with the headers that a matcher names. */
export function readObject(
  connection: Connection,
  http: HttpAttributes | undefined,
  headers: readonly string[],
): RequestObject {
  const text = (name: string): string => READERS[name]?.(connection, http) ?? ''
  return {
    principal: text('source.principal'),
    namespace: text('source.namespace'),
    serviceAccount: text('source.serviceAccount'),
    sourceIp: text('source.ip'),
    remoteIp: text('remote.ip'),
    port: connection.destinationPort,
    sni: text('connection.sni'),
    method: text('request.method'),
    path: text('request.path'),
    host: text('request.host'),
    headers: Object.assign(
      Object.create(null),
      Object.fromEntries(headers.map((name) => [name, http?.header(name).join(',') ?? ''])),
    ),
  }
}
