import {
  type ChannelCredentials,
  type ClientOptions,
  type ServiceError,
  status,
} from '@grpc/grpc-js'
import { CertificateAuthorityClient } from '#ca/proto/gen/ca.ts'
import { caTarget } from './target.ts'

/** A way to the CA that heals itself. */
export interface Channel extends Disposable {
  /**
   * Lends a client for the length of `run`. A client that failed to reach the CA is not lent again:
   * the next one dials at once, because how long to wait is the caller's to decide and not grpc-js's.
   */
  readonly use: <Result>(
    run: (client: CertificateAuthorityClient) => Promise<Result>,
  ) => Promise<Result>
}

/**
 * Milliseconds: a CA that neither answers nor closes (its process is stopped, its host is gone) is left
 * after so long without a word, and then so long without an answer to a ping.
 */
const QUIET_MS = 10_000
const PING_MS = 10_000

/** What our gRPC channels to our own servers are opened with. */
const OPTIONS: ClientOptions = {
  'grpc.keepalive_time_ms': QUIET_MS,
  'grpc.keepalive_timeout_ms': PING_MS,
  // `http_proxy` in the environment is the workloads' way into the mesh, never ours.
  'grpc.enable_http_proxy': 0,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.service_config_disable_resolution': 1,
}

/** What a call ends with that did not reach the CA, or got no answer in time and was cancelled. */
const UNREACHED: ReadonlySet<status | undefined> = new Set([status.UNAVAILABLE, status.CANCELLED])

interface Lent {
  readonly client: CertificateAuthorityClient
  borrowers: number
  retired: boolean
}

/** Dials nothing before the first use. Disposing of it lets what is on its way come back. */
export function openChannel(address: string, credentials: ChannelCredentials): Channel {
  let current: Lent | undefined

  const retire = (lent: Lent): void => {
    if (current === lent) current = undefined
    lent.retired = true
    if (lent.borrowers === 0) lent.client.close()
  }

  return {
    async use(run) {
      current ??= {
        client: new CertificateAuthorityClient(caTarget(address), credentials, OPTIONS),
        borrowers: 0,
        retired: false,
      }
      const lent = current
      lent.borrowers += 1
      try {
        return await run(lent.client)
      } catch (cause) {
        if (UNREACHED.has((cause as Partial<ServiceError>).code)) retire(lent)
        throw cause
      } finally {
        lent.borrowers -= 1
        if (lent.retired && lent.borrowers === 0) lent.client.close()
      }
    },
    [Symbol.dispose]() {
      if (current) retire(current)
    },
  }
}
