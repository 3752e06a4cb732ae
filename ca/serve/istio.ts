/**
 * Istio's certificate service on our CA: what `istio.v1.auth.IstioCertificateService` promises to
 * its clients, word for word where they read it (istio-semantics §15.2–15.4).
 *
 * Two things are stricter than there. What is issued is our leaf: no common name, key usage
 * digitalSignature alone. And a caller is known by its certificate, or by a token of a service account
 * if this CA was told of a cluster that it believes; by nothing else.
 */
import {
  type handleUnaryCall,
  Metadata,
  type ServiceDefinition,
  type ServiceError,
  type ServerUnaryCall,
  status,
} from '@grpc/grpc-js'

import type { Clock } from '#core/clock.ts'
import type { Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import { CaError, type CaErrorCode } from '../error.ts'
import { type IssueDeps, issueBatch } from '../issue/issue-batch.ts'
import {
  type IstioCertificateRequest,
  IstioCertificateResponse,
  IstioCertificateServiceService,
} from '../proto/gen/istio/v1/auth/ca.ts'
import { derFromPem, MAX_CSR_BYTES, pemFromDer, type TrustBundle } from '../x509/index.ts'
import { type IstioCallerDeps, istioCaller } from './istio-caller.ts'
import type { CaMetrics } from './metrics.ts'
import { callErrorFrom } from './to-proto.ts'

/** What answering needs. */
export interface IstioCallDeps extends IssueDeps, IstioCallerDeps {
  readonly clock: Clock
  readonly log: Log
  readonly bundle: Live<TrustBundle>
  readonly metrics: CaMetrics
}

/** A response: the leaf, and what follows it, encoded. */
interface Answer {
  readonly leafPem: string
  readonly anchors: Uint8Array
}

/**
 * The service of the `.proto`, with responses written into memory of their size. A general writer asks for
 * three times as much, zeroed, which costs a twentieth of the call (test/bench/ca-calls.bench.ts).
 */
export const istioService: ServiceDefinition = {
  createCertificate: {
    ...IstioCertificateServiceService.createCertificate,
    responseSerialize({ leafPem, anchors }: Answer) {
      const head = [CERT_CHAIN, ...varint(leafPem.length)]
      const bytes = Buffer.allocUnsafe(head.length + leafPem.length + anchors.length)
      bytes.set(head)
      bytes.write(leafPem, head.length, 'latin1')
      bytes.set(anchors, head.length + leafPem.length)
      return bytes
    },
  },
}

/** Field 1, of bytes that are counted before it. */
const CERT_CHAIN = 0x0a

/** A whole number as protobuf has it: seven bits a byte, the lowest first. */
function varint(value: number): readonly number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)]
}

export function istioCalls(deps: IstioCallDeps): {
  readonly createCertificate: handleUnaryCall<IstioCertificateRequest, Answer>
} {
  const anchors = encodedAnchors(deps.bundle)
  return {
    createCertificate(call, callback) {
      createCertificate(deps, call, anchors).then(
        (response) => callback(null, response),
        (cause: unknown) => callback(failureOf(deps, cause)),
      )
    },
  }
}

type Call = Pick<
  ServerUnaryCall<IstioCertificateRequest, unknown>,
  'request' | 'getPeer' | 'metadata'
>

async function createCertificate(
  deps: IstioCallDeps,
  call: Call,
  anchors: (issuers: readonly Uint8Array[]) => Uint8Array,
): Promise<Answer> {
  const spiffeId = await istioCaller(deps, call)
  const csrDer = readCsr(call.request.csr)
  const ttlSeconds = readTtl(call.request.validityDuration, deps.rules.maxLeafTtl)
  const caller = { id: spiffeId, scope: [] }
  const startMs = deps.clock.nowMs()
  const [svid] = await issueBatch(deps, caller, [{ spiffeId, csrDer, ttlSeconds }])
  if (svid === undefined || svid instanceof CaError) throw svid
  deps.metrics.issued(1)
  deps.metrics.batch((deps.clock.nowMs() - startMs) / 1000)
  const [leaf = new Uint8Array(), ...issuers] = svid.chain
  return { leafPem: pemFromDer('CERTIFICATE', leaf), anchors: anchors(issuers) }
}

/** The issuers of a chain and the roots, encoded: the same bytes for each call until one of them changes. */
function encodedAnchors(bundle: Live<TrustBundle>): (issuers: readonly Uint8Array[]) => Uint8Array {
  let last: { readonly of: TrustBundle; readonly issuer: Uint8Array | undefined } | undefined
  let bytes: Uint8Array = new Uint8Array()
  return (issuers) => {
    const { current } = bundle
    const issuer = issuers.at(-1)
    if (last?.of !== current || last.issuer !== issuer) {
      last = { of: current, issuer }
      const issuersPem = issuers.map((der) => pemFromDer('CERTIFICATE', der))
      const certChain = [...issuersPem, pemFromDer('CERTIFICATE', current.roots)]
      bytes = IstioCertificateResponse.encode({ certChain }).finish()
    }
    return bytes
  }
}

/** Characters of {@link MAX_CSR_BYTES} in base64 with line ends, and room for a header. */
const MAX_CSR_LENGTH = Math.ceil((MAX_CSR_BYTES / 3) * 4 * (65 / 64)) + 512

function readCsr(pem: string): Uint8Array {
  if (pem.length > MAX_CSR_LENGTH) throw refusedCsr(`it has ${pem.length} characters`)
  try {
    const [der, ...others] = derFromPem('CERTIFICATE REQUEST', pem)
    if (der && others.length === 0) return der
  } catch (cause) {
    if (!(cause instanceof CaError)) throw cause
    throw refusedCsr(cause.message, cause)
  }
  throw refusedCsr('it has more than one')
}

function refusedCsr(why: string, cause?: unknown): CaError {
  return new CaError('CA_CSR_REJECTED', `Cannot take a certificate request: ${why}`, { cause })
}

/** Seconds as `issueBatch` wants them. A longer life than the maximum is refused here, not shortened. */
function readTtl(wanted: bigint, max: Temporal.Duration): number {
  if (wanted <= 0n) return 0
  const maxSeconds = max.total('seconds')
  if (wanted <= BigInt(Math.floor(maxSeconds))) return Number(wanted)
  throw new CaError(
    'CA_CSR_REJECTED',
    `requested TTL ${wanted}s is greater than the max allowed TTL ${maxSeconds}s`,
  )
}

const UNAUTHENTICATED: Readonly<Partial<Record<CaErrorCode, string>>> = {
  CA_CALLER_UNKNOWN: 'request authenticate failure',
  CA_CREDENTIAL_UNSUPPORTED: 'request authenticate failure',
  CA_EVIDENCE_REFUSED: 'request authenticate failure',
  CA_NOT_ADMITTED: 'request impersonation authentication failure',
}

const OF_THE_REQUEST: ReadonlySet<CaErrorCode> = new Set([
  'CA_CSR_REJECTED',
  'CA_DER_INVALID',
  'CA_ID_INVALID',
])

/** Istio's statuses and words; our stable reason is in the metadata, and why is in the log. */
function failureOf({ log, metrics }: IstioCallDeps, cause: unknown): Partial<ServiceError> {
  if (!(cause instanceof CaError)) {
    log('error', 'ca-call-failed', { call: 'createCertificate', detail: String(cause) })
    return { code: status.INTERNAL, details: 'CSR signing error (internal error)' }
  }
  const { code: reason, message } = cause
  metrics.refused(reason)
  log('warn', 'ca-refused', { call: 'createCertificate', reason, detail: message })
  const { metadata = new Metadata() } = callErrorFrom(cause)
  const unauthenticated = UNAUTHENTICATED[reason]
  if (unauthenticated !== undefined) {
    return { code: status.UNAUTHENTICATED, details: unauthenticated, metadata }
  }
  if (reason === 'CA_RATE_LIMITED') {
    return { code: status.RESOURCE_EXHAUSTED, details: message, metadata } // Istio's agents try again
  }
  const code = OF_THE_REQUEST.has(reason) ? status.INVALID_ARGUMENT : status.INTERNAL
  return { code, details: `CSR signing error (${message})`, metadata }
}
