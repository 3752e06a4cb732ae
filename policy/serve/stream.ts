/** One sidecar's stream: the driver of `stream-state.ts`. */
import { type ServerDuplexStream, status } from '@grpc/grpc-js'

import type { SpiffeId } from '#ca/spiffe/index.ts'
import { PolicyError } from '../error.ts'
import type { Resource, StreamRequest, StreamResponse } from '../proto/gen/policy.ts'
import { messageFromProto, nodeFromProto } from './from-proto.ts'
import { parseResourceName } from './resource-name.ts'
import type { Content, createResources, Subscriber } from './resources.ts'
import {
  type Answer,
  EMPTY_STREAM,
  maySend,
  receive,
  type StreamState,
  send,
} from './stream-state.ts'

/** Bytes of resources in one response; more go into the next. */
const MAX_RESPONSE_BYTES = 1024 * 1024

export type Call = ServerDuplexStream<StreamRequest, StreamResponse>
export type Resources = ReturnType<typeof createResources>

export interface StreamDeps {
  readonly noncePrefix: string
  /** Of the newest state of the world. */
  readonly resources: () => Resources
  readonly onReady: (stream: SidecarStream) => void
  readonly onAnswer: (stream: SidecarStream, answer: Answer) => void
  readonly onKeysWanted: (issuer: string) => void
  readonly onSent: (resources: number, bytes: number) => void
  readonly onEnd: (stream: SidecarStream | undefined, refusal: Refusal | undefined) => void
}

export interface Refusal {
  readonly code: status
  readonly reason: string
}

/** A stream whose sidecar has said who it is. */
export interface SidecarStream {
  readonly subscriber: Subscriber
  readonly state: () => StreamState
  /** Sends what the sidecar does not have yet. */
  readonly refresh: () => void
  readonly end: () => void
}

/** Serves `call`, whose connection proved `peer`, until either side ends it. */
export function serveStream(call: Call, peer: SpiffeId, deps: StreamDeps): void {
  let state = EMPTY_STREAM
  let stream: SidecarStream | undefined
  let ended = false

  const end = (refusal?: Refusal): void => {
    if (ended) return
    ended = true
    deps.onEnd(stream, refusal)
    if (refusal) call.emit('error', { code: refusal.code, details: refusal.reason })
    else call.end()
  }

  const refresh = (): void => {
    if (!stream || ended) return
    const changes = changesFor(state, stream.subscriber, deps.resources())
    if (changes.kind === 'forbidden') {
      return end({
        code: status.PERMISSION_DENIED,
        reason: `Cannot serve ${JSON.stringify(changes.name)}: ${peer} is not its account`,
      })
    }
    for (const response of responsesOf(changes)) {
      if (!maySend(state)) return
      const versions = new Map(response.resources.map(({ name, version }) => [name, version]))
      const next = send(state, versions, response.removed, deps.noncePrefix)
      state = next.state
      call.write({ nonce: next.nonce, ...response })
      deps.onSent(
        response.resources.length,
        response.resources.reduce((sum, { body }) => sum + body.byteLength, 0),
      )
    }
  }

  const take = (request: StreamRequest): void => {
    if (!stream) {
      stream = { subscriber: { ...nodeFromProto(request), peer }, state: () => state, refresh, end }
      deps.onReady(stream)
    }
    const message = messageFromProto(request)
    const result = receive(state, message)
    if (result.kind === 'too-many') {
      return end({
        code: status.RESOURCE_EXHAUSTED,
        reason: 'Cannot subscribe: the stream has too many subscriptions',
      })
    }
    state = result.state
    for (const one of result.answers) deps.onAnswer(stream, one)
    for (const issuer of new Set(message.keysWanted)) deps.onKeysWanted(issuer)
    const foreign = message.subscribe.find((name) => isForeign(name, peer))
    if (foreign !== undefined) {
      return end({
        code: status.PERMISSION_DENIED,
        reason: `Cannot serve ${JSON.stringify(foreign)}: ${peer} is of another namespace`,
      })
    }
    refresh()
  }

  call.on('data', (request: StreamRequest) => {
    if (ended) return
    try {
      take(request)
    } catch (cause) {
      end(refusalFrom(cause))
    }
  })
  call.on('end', () => end())
  call.on('cancelled', () => end())
  call.on('error', () => end())
}

function refusalFrom(cause: unknown): Refusal {
  if (!(cause instanceof PolicyError)) {
    return { code: status.INTERNAL, reason: 'Cannot go on: an unexpected failure' }
  }
  const code = cause.code === 'POLICY_LIMIT' ? status.RESOURCE_EXHAUSTED : status.INVALID_ARGUMENT
  return { code, reason: cause.message }
}

/** Refused at once, also while the workload does not run and its account is not known. */
function isForeign(name: string, peer: SpiffeId): boolean {
  const resource = parseResourceName(name)
  if (resource === undefined || resource.kind === 'destination') return false
  return !peer.includes(`/ns/${resource.namespace}/sa/`)
}

type Changes =
  | {
      readonly kind: 'changes'
      readonly contents: readonly (readonly [name: string, content: Content])[]
      readonly removed: readonly string[]
    }
  | { readonly kind: 'forbidden'; readonly name: string }

function changesFor(state: StreamState, subscriber: Subscriber, resources: Resources): Changes {
  const contents: (readonly [string, Content])[] = []
  const removed: string[] = []
  for (const [name, { sent }] of state.resources) {
    const found = resources.read(name, subscriber)
    if (found.kind === 'forbidden') return { kind: 'forbidden', name }
    if (found.kind === 'absent') {
      if (sent !== '') removed.push(name)
    } else if (found.content.version !== sent) contents.push([name, found.content])
  }
  return { kind: 'changes', contents, removed }
}

/** Responses of bounded size; what was removed goes with the first. */
function responsesOf({
  contents,
  removed,
}: Extract<Changes, { readonly kind: 'changes' }>): readonly {
  resources: Resource[]
  removed: readonly string[]
}[] {
  const responses: { resources: Resource[]; removed: readonly string[] }[] = []
  let bytes = 0
  let current: Resource[] | undefined
  for (const [name, { version, body }] of contents) {
    if (!current || bytes + body.byteLength > MAX_RESPONSE_BYTES) {
      current = []
      bytes = 0
      responses.push({ resources: current, removed: responses.length === 0 ? removed : [] })
    }
    current.push({ name, version, body })
    bytes += body.byteLength
  }
  if (responses.length === 0 && removed.length > 0) responses.push({ resources: [], removed })
  return responses
}
