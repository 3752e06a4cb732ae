/** One request to a proxy that asks, and all that came of it: the question, what the app got, the answer. */
import { headerValues } from '#policy/model/index.ts'
import { openRaw, openRawApp, type RawApp } from '#test/fakes/raw-http.ts'

export interface Message {
  /** The first line. */
  readonly line: string
  /** `name: value`, names in lower case; by name, those of one name in their order. */
  readonly lines: readonly string[]
  readonly body: string
}

const HEAD_END = '\r\n\r\n'

/** A message that is whole. */
export function readMessage(text: string): Message {
  const end = text.indexOf(HEAD_END)
  const [line = '', ...lines] = text.slice(0, end).split('\r\n')
  const named = lines.map((one) => {
    const at = one.indexOf(':')
    return [one.slice(0, at).toLowerCase(), one.slice(at + 1).trim()] as const
  })
  const chunked = named.some(([name, value]) => name === 'transfer-encoding' && value === 'chunked')
  const rest = text.slice(end + HEAD_END.length)
  return {
    line,
    lines: named
      .toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(([name, value]) => `${name}: ${value}`),
    body: chunked ? unchunked(rest) : rest,
  }
}

function unchunked(text: string): string {
  const [, size = '0', rest = ''] = /^([\da-f]+)\r\n(.*)$/is.exec(text) ?? []
  const length = Number.parseInt(size, 16)
  return length === 0 ? '' : rest.slice(0, length) + unchunked(rest.slice(length + 2))
}

/** Names that each proxy says in its own way, or that tell the way and not the message. */
const OWN =
  /^(date|server|connection|x-request-id|traceparent|tracestate|x-envoy-(?!auth-).*|x-forwarded-(for|proto|client-cert)|x-redoubt-decision|user-agent|transfer-encoding|keep-alive):/

/** `message` without what is a proxy's own. */
export function ofOthers({ line, lines, body }: Message): Message {
  const others = lines.filter((one) => !OWN.test(one))
  // Lines that are one value to policies may as well be one line.
  const byName = Map.groupBy(others, (one) => one.slice(0, one.indexOf(':')))
  const joined = [...byName].flatMap(([name, all]) =>
    headerValues(
      name,
      all.map((one) => one.slice(name.length + 2)),
    ).map((value) => `${name}: ${value}`),
  )
  return { line, body, lines: joined }
}

/** Sends `request` and reads until the answer is over. */
export async function exchange(address: string, request: string): Promise<Message> {
  using client = await openRaw(address)
  client.send(request)
  return readMessage(await client.end())
}

/** A server that reads whole requests and answers each with text, or never. */
export async function openAnswering(
  answerTo: (request: Message) => string | undefined,
): Promise<RawApp & { readonly asked: Message[] }> {
  const asked: Message[] = []
  const held = new Map<number, string>()
  const app = await openRawApp((socket, text, connection) => {
    const rest = (held.get(connection) ?? '') + text
    held.set(connection, rest)
    const end = rest.indexOf(HEAD_END)
    if (end < 0) return
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(rest.slice(0, end))?.[1] ?? 0)
    const isChunked = /\r\ntransfer-encoding: *chunked/i.test(rest.slice(0, end))
    if (isChunked ? !rest.endsWith('0\r\n\r\n') : rest.length < end + HEAD_END.length + length)
      return
    held.set(connection, '')
    const message = readMessage(rest)
    asked.push(message)
    const answer = answerTo(message)
    if (answer === '') socket.destroy()
    else if (answer !== undefined) socket.write(answer, 'latin1')
  })
  return { ...app, asked }
}
