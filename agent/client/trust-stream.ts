import type { Client, Metadata, ServiceError } from '@grpc/grpc-js'
import { credentials, status } from '@grpc/grpc-js'
import type { Log } from '#core/log.ts'
import { type TrustAck, TrustClient, type TrustUpdate } from '../proto/gen/trust.ts'

export interface TrustStreamDeps {
  /** Whose connection is used. */
  readonly client: Client
  readonly metadata: Metadata
  readonly held: {
    /** `undefined`: the agent knows nothing of that. */
    readonly takeTrust: (update: TrustUpdate | undefined) => void
    readonly standing: () => TrustAck
  }
  readonly log: Log
}

export interface TrustStream {
  /** Says what is in force here, if that is news. */
  readonly acknowledge: () => void
  readonly cancel: () => void
  /** Rejects when the stream fails; stays pending for an agent without it. */
  readonly ended: Promise<void>
}

/** Follows what is trusted, and says how far this process has come. */
export function openTrustStream({ client, metadata, held, log }: TrustStreamDeps): TrustStream {
  const trust = new TrustClient('unix:', credentials.createInsecure(), {
    channelOverride: client.getChannel(),
  })
  const call = trust.follow(metadata)
  let last = ''
  const acknowledge = (): void => {
    const standing = held.standing()
    const text = `${standing.generation} ${standing.denials}`
    if (text === last || call.destroyed) return
    last = text
    call.write(standing)
  }
  const follow = async (): Promise<void> => {
    acknowledge()
    for await (const update of call as AsyncIterable<TrustUpdate>) {
      held.takeTrust(update)
      acknowledge()
    }
  }
  const ended = follow().catch((cause: unknown) => {
    if ((cause as Partial<ServiceError>).code !== status.UNIMPLEMENTED) throw cause
    log('warn', 'deny-list-unknown', { why: 'the agent does not tell what is denied' })
    held.takeTrust(undefined)
    return new Promise<void>(() => {}) // the other stream goes on
  })
  return { acknowledge, ended, cancel: () => call.cancel() }
}
