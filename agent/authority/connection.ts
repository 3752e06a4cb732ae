import type { ClientOptions, ClientUnaryCall, ServiceError } from '@grpc/grpc-js'
import {
  type AttestResponse,
  CertificateAuthorityClient,
  type IssueResponse,
} from '#ca/proto/gen/ca.ts'
import type { SpiffeId, TrustDomain } from '#ca/spiffe/index.ts'
import type { TrustBundle } from '#ca/x509/index.ts'
import type { Clock } from '#core/clock.ts'
import type { Live } from '#core/live.ts'
import { svidChannelCredentials } from '../client/channel-credentials.ts'
import { AgentError } from '../error.ts'
import type { IssuedSvid, SvidAnswer, SvidRequest } from '../svid/issued-svid.ts'
import { bundleFromProto, callErrorFromGrpc, resultFromProto, svidFromProto } from './from-proto.ts'

export interface ConnectionOptions {
  /** `host:port`. */
  readonly address: string
  readonly caId: SpiffeId
  readonly trustDomain: TrustDomain
  /** The agent's own SVID; `undefined` before it has one, when only `attest` is answered. */
  readonly own: IssuedSvid | undefined
  readonly bundle: Live<TrustBundle>
  readonly clock: Clock
  readonly now: () => Temporal.Instant
}

/** One mTLS channel to the CA, with one certificate of ours for as long as it lasts. */
export interface AuthorityConnection extends Disposable {
  /** @throws {AgentError} `AGENT_ISSUE_REFUSED` (final), `AGENT_CA_UNAVAILABLE`, `AGENT_SVID_INVALID` */
  readonly attest: (
    joinToken: string,
    request: SvidRequest,
    signal: AbortSignal,
  ) => Promise<{ readonly answer: SvidAnswer; readonly bundle: TrustBundle }>
  /** Answers in order. @throws {AgentError} `AGENT_ISSUE_REFUSED`, `AGENT_CA_UNAVAILABLE` */
  readonly issue: (
    requests: readonly SvidRequest[],
    signal: AbortSignal,
  ) => Promise<readonly (SvidAnswer | AgentError)[]>
  /**
   * Takes each bundle and acknowledges it once `take` has returned; ends when the stream does.
   *
   * @throws {AgentError} `AGENT_CA_UNAVAILABLE`, `AGENT_BUNDLE_INVALID`
   */
  readonly watchBundles: (take: (bundle: TrustBundle) => void, signal: AbortSignal) => Promise<void>
}

/** What our gRPC channels to our own servers are opened with. */
const CHANNEL: ClientOptions = {
  // `http_proxy` in the environment is the workloads' way into the mesh, never ours.
  'grpc.enable_http_proxy': 0,
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.min_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 1000,
  'grpc.service_config_disable_resolution': 1,
}

/** Elapsed milliseconds for one unary call. */
const CALL_TIMEOUT_MS = 10_000

/** Opens lazily: nothing is dialled before the first call. */
export function connectAuthority(options: ConnectionOptions): AuthorityConnection {
  const { address, caId, trustDomain, own, bundle, clock, now } = options
  const credentials = svidChannelCredentials({
    svid: own && { current: own, changes: never },
    bundles: () => [bundle.current],
    serverId: caId,
    now,
  })
  const client = new CertificateAuthorityClient(address, credentials, CHANNEL)

  return {
    async attest(joinToken, { csr }, signal) {
      const response = await unary<AttestResponse>('attest the node', clock, signal, (done) =>
        client.attest({ joinToken, csr: Buffer.from(csr) }, done),
      )
      return {
        answer: svidFromProto(response.svid),
        bundle: bundleFromProto(response.bundle, { trustDomain, after: 0 }),
      }
    },

    async issue(requests, signal) {
      const csrs = requests.map(({ id, csr, ttl }) => ({
        spiffeId: id,
        csr: Buffer.from(csr),
        ttlSeconds: ttl ? Math.floor(ttl.total('seconds')) : 0,
      }))
      const response = await unary<IssueResponse>('get SVIDs', clock, signal, (done) =>
        client.issue({ csrs }, done),
      )
      return response.results.map(readResult)
    },

    async watchBundles(take, signal) {
      const stream = client.bundles()
      const cancel = (): void => stream.cancel()
      signal.addEventListener('abort', cancel, { once: true })
      try {
        stream.write({ generation: BigInt(bundle.current.generation) })
        for await (const message of stream) {
          const { generation: after } = bundle.current
          const next = bundleFromProto(message, { trustDomain, after })
          take(next)
          stream.write({ generation: BigInt(next.generation) })
        }
      } catch (cause) {
        signal.throwIfAborted()
        if (cause instanceof AgentError) throw cause
        throw callErrorFromGrpc(cause, 'watch the trust bundle')
      } finally {
        signal.removeEventListener('abort', cancel)
        stream.cancel()
      }
    },

    [Symbol.dispose]: () => client.close(),
  }
}

async function* never(): AsyncGenerator<never, void> {}

function readResult(result: Parameters<typeof resultFromProto>[0]): SvidAnswer | AgentError {
  try {
    return resultFromProto(result)
  } catch (cause) {
    if (cause instanceof AgentError) return cause
    throw cause
  }
}

type Done<Response> = (cause: ServiceError | null, response: Response) => void

/** One call, cancelled when `signal` aborts or after {@link CALL_TIMEOUT_MS}. */
async function unary<Response>(
  what: string,
  clock: Clock,
  signal: AbortSignal,
  start: (done: Done<Response>) => ClientUnaryCall,
): Promise<Response> {
  signal.throwIfAborted()
  const ended = new AbortController()
  const either = AbortSignal.any([signal, ended.signal])
  try {
    return await new Promise<Response>((resolve, reject) => {
      const call = start((cause, response) => (cause ? reject(cause) : resolve(response)))
      void clock.sleep(CALL_TIMEOUT_MS, either).then(
        () => call.cancel(),
        () => call.cancel(), // of no effect on a call that has ended
      )
    })
  } catch (cause) {
    signal.throwIfAborted()
    throw callErrorFromGrpc(cause, what)
  } finally {
    ended.abort()
  }
}
