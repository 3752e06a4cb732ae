import type { ClientUnaryCall, ServiceError } from '@grpc/grpc-js'
import type {
  AttestResponse,
  CertificateAuthorityClient,
  ChallengeResponse,
  IssueJwtResponse,
  IssueResponse,
} from '#ca/proto/gen/ca.ts'
import type { SpiffeId } from '#ca/spiffe/index.ts'
import { type DenyChanges, pemFromDer, type TrustBundle } from '#ca/x509/index.ts'
import type { Clock } from '#core/clock.ts'
import { evidenceOf, type NodeProof } from '../attest/evidence.ts'
import { svidChannelCredentials } from '../client/channel-credentials.ts'
import type { ClockSkew } from '../clock-skew.ts'
import { AgentError } from '../error.ts'
import type { Svid } from '../client/svid.ts'
import type { TokenAnswer, TokenRequest } from '../jwt/issued-token.ts'
import type { IssuedSvid, SvidAnswer, SvidRequest } from '../svid/issued-svid.ts'
import { denyChangesFromProto } from '../trust/deny-changes.ts'
import { type Channel, openChannel } from './channel.ts'
import {
  bundleFromProto,
  callErrorFromGrpc,
  resultFromProto,
  svidFromProto,
  tokenFromProto,
} from './from-proto.ts'
import { type WatchBundlesDeps, watchBundles } from './watch-bundles.ts'

export interface ConnectionOptions extends WatchBundlesDeps {
  /** `host:port`. */
  readonly address: string
  readonly caId: SpiffeId
  /** The agent's own SVID; `undefined` before it has one, when only `attest` is answered. */
  readonly own: IssuedSvid | undefined
  readonly skew: Pick<ClockSkew, 'noteFuture'>
  readonly now: () => Temporal.Instant
}

/** The CA's answer to a node that has proved itself, not yet judged. */
export interface Attested {
  readonly answer: SvidAnswer
  readonly bundle: TrustBundle
  readonly denials: DenyChanges
}

/**
 * One mTLS channel to the CA, with one certificate of ours for as long as it lasts. Disposing of it
 * lets calls that are on their way come back.
 */
export interface AuthorityConnection extends Disposable {
  /** @throws {AgentError} `AGENT_ISSUE_REFUSED` (final), `AGENT_CA_UNAVAILABLE`, `AGENT_SVID_INVALID`, `AGENT_PROOF_UNREADABLE` */
  readonly attest: (
    proof: NodeProof,
    request: SvidRequest,
    signal: AbortSignal,
  ) => Promise<Attested>
  /** Answers in order. @throws {AgentError} `AGENT_ISSUE_REFUSED`, `AGENT_CA_UNAVAILABLE` */
  readonly issue: (
    requests: readonly SvidRequest[],
    signal: AbortSignal,
  ) => Promise<readonly (SvidAnswer | AgentError)[]>
  /** Answers in order. @throws {AgentError} `AGENT_ISSUE_REFUSED`, `AGENT_CA_UNAVAILABLE` */
  readonly issueTokens: (
    requests: readonly TokenRequest[],
    signal: AbortSignal,
  ) => Promise<readonly (TokenAnswer | AgentError)[]>
  /**
   * Puts what the CA says is trusted in force; see `watchBundles` of watch-bundles.ts.
   *
   * @throws {AgentError} `AGENT_CA_UNAVAILABLE`, `AGENT_BUNDLE_INVALID`
   */
  readonly watchBundles: (taken: () => void, signal: AbortSignal) => Promise<void>
}

/** Elapsed milliseconds for one unary call. */
const CALL_TIMEOUT_MS = 10_000

/** Opens lazily: nothing is dialled before the first call. */
export function connectAuthority(options: ConnectionOptions): AuthorityConnection {
  const { address, caId, trustDomain, own, trust, skew, clock, now } = options
  const credentials = svidChannelCredentials({
    svid: own && { current: pemOf(own), changes: never },
    bundles: () => [trust.current()],
    judgeAgain: trust.denials,
    serverId: caId,
    now,
    onRefused: ({ reason, detail }) => reason === 'not-yet-valid' && skew.noteFuture(detail),
  })
  const channel = openChannel(address, credentials)

  return {
    async attest(proof, { csr }, signal) {
      const challenge = async () => {
        const asked = await unary<ChallengeResponse>(
          'get a challenge',
          { channel, clock, signal },
          (client, done) => client.challenge({}, done),
        )
        return asked.challenge
      }
      const evidence = await evidenceOf(proof, { trustDomain, csr, challenge, now: now() })
      const request = { ...evidence, csr: Buffer.from(csr) }
      const response = await unary<AttestResponse>(
        'attest the node',
        { channel, clock, signal },
        (client, done) => client.attest(request, done),
      )
      return {
        answer: svidFromProto(response.svid),
        bundle: bundleFromProto(response.bundle, { trustDomain, after: 0 }),
        denials: denyChangesFromProto(response.bundle?.denials),
      }
    },

    async issue(requests, signal) {
      const csrs = requests.map(({ id, csr, ttl }) => ({
        spiffeId: id,
        csr: Buffer.from(csr),
        ttlSeconds: ttl ? Math.floor(ttl.total('seconds')) : 0,
      }))
      const response = await unary<IssueResponse>(
        'get SVIDs',
        { channel, clock, signal },
        (client, done) => client.issue({ csrs }, done),
      )
      return response.results.map((result) => orError(() => resultFromProto(result)))
    },

    async issueTokens(wanted, signal) {
      const requests = wanted.map(({ id, audience }) => ({ spiffeId: id, audience }))
      const response = await unary<IssueJwtResponse>(
        'get tokens',
        { channel, clock, signal },
        (client, done) => client.issueJwt({ requests }, done),
      )
      return response.results.map((result) => orError(() => tokenFromProto(result)))
    },

    async watchBundles(taken, signal) {
      try {
        await channel.use((client) => watchBundles(options, client.bundles(), taken, signal))
      } catch (cause) {
        signal.throwIfAborted()
        if (cause instanceof AgentError) throw cause
        throw callErrorFromGrpc(cause, 'watch the trust bundle')
      }
    },

    [Symbol.dispose]: () => channel[Symbol.dispose](),
  }
}

/** Made for the one connection that shows it. */
function pemOf({ chain, keyDer }: IssuedSvid): Pick<Svid, 'chainPem' | 'keyPem'> {
  return {
    chainPem: pemFromDer('CERTIFICATE', chain),
    keyPem: pemFromDer('PRIVATE KEY', keyDer),
  }
}

async function* never(): AsyncGenerator<never, void> {}

function orError<Answer>(read: () => Answer): Answer | AgentError {
  try {
    return read()
  } catch (cause) {
    if (cause instanceof AgentError) return cause
    throw cause
  }
}

interface Calling {
  readonly channel: Channel
  readonly clock: Clock
  readonly signal: AbortSignal
}

type Start<Response> = (
  client: CertificateAuthorityClient,
  done: (cause: ServiceError | null, response: Response) => void,
) => ClientUnaryCall

/** One call, cancelled when the signal aborts or after {@link CALL_TIMEOUT_MS}. */
async function unary<Response>(
  what: string,
  { channel, clock, signal }: Calling,
  start: Start<Response>,
): Promise<Response> {
  signal.throwIfAborted()
  const ended = new AbortController()
  const either = AbortSignal.any([signal, ended.signal])
  const run = (client: CertificateAuthorityClient): Promise<Response> =>
    new Promise((resolve, reject) => {
      const call = start(client, (cause, response) => (cause ? reject(cause) : resolve(response)))
      void clock.sleep(CALL_TIMEOUT_MS, either).then(
        () => call.cancel(),
        () => call.cancel(), // of no effect on a call that has ended
      )
    })
  try {
    return await channel.use(run)
  } catch (cause) {
    signal.throwIfAborted()
    throw callErrorFromGrpc(cause, what)
  } finally {
    ended.abort()
  }
}
