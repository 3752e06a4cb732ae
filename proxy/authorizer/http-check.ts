/**
 * The HTTP form of the question: the request's own method and path, and those of its headers that were
 * asked for. 200 is yes, 5xx is a failure, anything else is no (istio-semantics §1.11).
 */
import type { HttpAuthorizer } from '#policy/model/index.ts'
import { FIELD } from '../http/field.ts'
import type { FieldBlock } from '../http/field-block.ts'
import { RequestHead } from '../http/request-head.ts'
import type { RequestEdits } from '../http/serialize.ts'
import { compileNames, type NameMatch } from './name-match.ts'
import { type HeaderEdit, type HttpQuestion, NO_CHANGES, type Verdict } from './question.ts'

/** A request to an authorizer. */
export interface CheckRequest {
  readonly head: RequestHead
  readonly edits: RequestEdits
  readonly body: Buffer | undefined
}

/** An authorizer's answer, whole. */
export interface CheckAnswer {
  readonly status: number
  /** In order, names in lower case. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** latin1 */
  readonly body: string
}

/** Both sides of the conversation with one authorizer. */
export interface HttpCheck {
  /** `undefined`: no head can be made of it. */
  readonly requestOf: (question: HttpQuestion) => CheckRequest | undefined
  readonly verdictOf: (answer: CheckAnswer) => Verdict
}

/** What always goes along, beside method, path, host and the body's length. */
const ALWAYS = 'authorization'
/** What a refusal always takes along when others are named. */
const ALWAYS_ON_DENY = new Set(['content-length', 'location', 'path', 'status', 'www-authenticate'])
const HEADERS_TO_REMOVE = 'x-envoy-auth-headers-to-remove'
const PARTIAL_BODY = 'x-envoy-auth-partial-body'
const FORWARDED_CERT = 'x-forwarded-client-cert'

export function compileHttpCheck(settings: HttpAuthorizer): HttpCheck {
  const { pathPrefix, addedHeaders } = settings
  const added = new Map(Object.entries(addedHeaders))
  const checked = compileNames(settings.checkHeaders)
  const wanted: NameMatch = (name) => (name === ALWAYS || checked(name)) && !added.has(name)
  const addedLines = [...added].map(([name, value]) => lineOf(name, value)).join('')
  return {
    requestOf(question) {
      const { head, target, body, isPartial } = question
      const host = added.get('host') ?? head.authority
      const length = lineOf('content-length', String(body?.length ?? 0))
      const start = `${head.method} ${pathPrefix}${target} HTTP/1.1\r\n${lineOf('host', host)}${length}`
      const certified = wanted(FORWARDED_CERT) ? question.forwardedCert : ''
      // Names that a head read from outside may not have: ours to say.
      const ours = isPartial === undefined ? '' : lineOf(PARTIAL_BODY, String(isPartial))
      const made = readHead(`${start}${headerLines(head.fields, wanted)}\r\n`)
      return made && { head: made, edits: { added: addedLines + certified + ours }, body }
    },
    verdictOf: compileVerdict(settings),
  }
}

function lineOf(name: string, value: string): string {
  return `${name}: ${value}\r\n`
}

/** Lines of one name are one value, as Envoy puts them together. */
function headerLines(fields: FieldBlock, wanted: NameMatch): string {
  const values = new Map<string, string>()
  for (let index = 0; index < fields.count; index += 1) {
    const name = fields.name(index)
    if (fields.isDropped(index) || !isCarried(fields.kind(index)) || !wanted(name)) continue
    const before = values.get(name)
    const joint = name === 'cookie' ? '; ' : ','
    const value = fields.value(index)
    values.set(name, before === undefined ? value : `${before}${joint}${value}`)
  }
  return [...values].map(([name, value]) => lineOf(name, value)).join('')
}

/** Not what frames a message, nor what ends at a proxy. */
export function isCarried(kind: number): boolean {
  return kind === FIELD.other || kind === FIELD.requestId || kind === FIELD.attemptCount
}

/** A head from its text; `undefined` when it is none. */
export function readHead(text: string): RequestHead | undefined {
  const head = new RequestHead()
  const bytes = Buffer.from(text, 'latin1')
  return head.read(bytes, 0, bytes.length) === bytes.length ? head : undefined
}

function compileVerdict(settings: HttpAuthorizer): HttpCheck['verdictOf'] {
  const toUpstream = compileNames(settings.toUpstream)
  const onAllow = compileNames(settings.toDownstreamOnAllow)
  const onDeny =
    settings.toDownstreamOnDeny === undefined
      ? () => true
      : or(compileNames(settings.toDownstreamOnDeny), (name) => ALWAYS_ON_DENY.has(name))
  return ({ status, headers, body }) => {
    if (status < 200 || status >= 500) return { kind: 'failed', detail: `it answered ${status}` }
    if (status !== 200) {
      return { kind: 'deny', status, headers: headers.filter(([name]) => onDeny(name)), body }
    }
    const removed = headers
      .filter(([name]) => name === HEADERS_TO_REMOVE)
      .flatMap(([, value]) => value.split(','))
      .map((name): HeaderEdit => {
        return { kind: 'remove', name: name.trim().toLowerCase(), value: '' }
      })
    return {
      kind: 'allow',
      changes: {
        ...NO_CHANGES,
        // Of several lines of one name the last one stays, as in Envoy.
        request: [...headers.filter(([name]) => toUpstream(name)).map(setting), ...removed],
        response: headers
          .filter(([name]) => onAllow(name))
          .map(([name, value]) => ({ kind: 'add', name, value })),
      },
    }
  }
}

function setting([name, value]: readonly [name: string, value: string]): HeaderEdit {
  return { kind: 'set', name, value }
}

function or(one: NameMatch, other: NameMatch): NameMatch {
  return (name) => one(name) || other(name)
}
