/** The stream by which processes of ours on this node follow what is trusted. */
import type {
  handleBidiStreamingCall,
  Metadata,
  ServerDuplexStream,
  ServiceDefinition,
} from '@grpc/grpc-js'

import { eitherChange } from '#core/live.ts'
import type { Callers, CallerSession } from '../callers.ts'
import { type TrustAck, TrustService } from '../proto/gen/trust.ts'
import { statusFromError } from '../status.ts'
import { checkHeader } from '../workload-api/header.ts'
import { write } from '../write.ts'
import type { Followers, FollowerSession } from './followers.ts'
import type { Trust } from './trust.ts'
import { createUpdates, type Update } from './updates.ts'

export interface TrustServiceDeps {
  readonly callers: Callers
  readonly trust: Trust
  readonly followers: Followers
  readonly now: () => Temporal.Instant
  readonly refused: (api: 'trust', cause: unknown) => void
}

type Call = ServerDuplexStream<TrustAck, Buffer> & { readonly metadata: Metadata }

/** The service of the `.proto`, with responses that are encoded already. */
export const trustService: ServiceDefinition = {
  follow: { ...TrustService.follow, responseSerialize: (bytes: Buffer) => bytes },
}

/** Callers are who they are for the Workload API: header, process, and anew before each message. */
export function trustCalls(deps: TrustServiceDeps): {
  readonly follow: handleBidiStreamingCall<TrustAck, Buffer>
} {
  const updates = createUpdates(deps)
  return { follow: (call) => void serve({ ...deps, updates }, call) }
}

interface Serving extends TrustServiceDeps {
  readonly updates: (told: number) => Update
}

async function serve(deps: Serving, call: Call): Promise<void> {
  const { callers, followers, refused } = deps
  try {
    checkHeader(call.metadata)
    using session = callers.open(call)
    using follower = followers.open(await session.identify())
    await tell(deps, call, session, follower)
    session.throwIfUnknown()
    call.end()
  } catch (cause) {
    if (call.cancelled) return
    refused('trust', cause)
    call.emit('error', statusFromError(cause))
  }
}

async function tell(
  { trust, updates }: Serving,
  call: Call,
  session: CallerSession,
  follower: FollowerSession,
): Promise<void> {
  const { signal } = session
  let told = await listen(call, follower, signal)
  if (told === undefined) return
  for await (const _ of eitherChange(trust.bundle, trust.denials, signal)) {
    // Before the CA was heard there is nothing to tell: an empty list would be taken for the list.
    if (trust.bundle.current.generation === 0) continue
    const { denials, bytes } = updates(told)
    told = denials
    await session.identify()
    await write(call, bytes, signal)
  }
}

/** Takes down what the caller acknowledges. Resolves with the deny-list's generation of its first message. */
function listen(
  call: Call,
  follower: FollowerSession,
  signal: AbortSignal,
): Promise<number | undefined> {
  return new Promise((resolve) => {
    let name: string | undefined
    signal.addEventListener('abort', () => resolve(undefined), { once: true })
    call.on('data', (message: TrustAck) => {
      name ??= message.name.slice(0, MAX_NAME)
      const denials = Number(message.denials)
      if (!signal.aborted) follower.hear(name, { generation: Number(message.generation), denials })
      resolve(denials)
    })
  })
}

/** Characters of a name that is for people only. */
const MAX_NAME = 256
