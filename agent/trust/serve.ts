/** The stream by which processes of ours on this node follow what is trusted. */
import type { Metadata, ServerDuplexStream } from '@grpc/grpc-js'

import { denyChangesSince } from '#ca/x509/index.ts'
import { eitherChange } from '#core/live.ts'
import type { Callers, CallerSession } from '../callers.ts'
import type { TrustAck, TrustServer, TrustUpdate } from '../proto/gen/trust.ts'
import { statusFromError } from '../status.ts'
import { checkHeader } from '../workload-api/header.ts'
import { write } from '../write.ts'
import { rootsDigest } from '../client/roots-digest.ts'
import { denyChangesToProto } from './deny-changes.ts'
import type { Followers, FollowerSession } from './followers.ts'
import type { Trust } from './trust.ts'

export interface TrustServiceDeps {
  readonly callers: Callers
  readonly trust: Trust
  readonly followers: Followers
  readonly now: () => Temporal.Instant
  readonly refused: (api: 'trust', cause: unknown) => void
}

type Call = ServerDuplexStream<TrustAck, TrustUpdate> & { readonly metadata: Metadata }

/** Callers are who they are for the Workload API: header, process, and anew before each message. */
export function createTrustService(deps: TrustServiceDeps): TrustServer {
  return { follow: (call) => void serve(deps, call) }
}

async function serve(deps: TrustServiceDeps, call: Call): Promise<void> {
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
  { trust, now }: TrustServiceDeps,
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
    const changes = denyChangesSince(trust.denials.current, told, now())
    told = changes.generation
    const { generation, roots } = trust.bundle.current
    const rootsSha256 = rootsDigest(roots)
    await session.identify()
    const denials = denyChangesToProto(changes)
    await write(call, { generation: BigInt(generation), rootsSha256, denials }, signal)
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
