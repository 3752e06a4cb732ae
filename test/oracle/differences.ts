/**
 * Where Redoubt decides otherwise than Istio and Envoy on purpose (istio-semantics §0.8, end), with the
 * reason. What is not named here is a fault.
 */
import type { CheckResult } from '#policy/index.ts'
import type { OracleAnswer, OracleRequest } from './cases.ts'

/** One request, and what became of it on both sides. */
export interface Pair {
  readonly request: OracleRequest
  readonly theirs: OracleAnswer
  /** `undefined`: the caller's name is no SPIFFE ID, so that it cannot be asked about. */
  readonly decided: CheckResult | undefined
}

export interface Difference {
  readonly name: string
  readonly reason: string
  readonly explains: (pair: Pair) => boolean
}

export const DIFFERENCES: readonly Difference[] = [
  {
    name: 'http2-method',
    reason:
      'a method that no list knows, lower-case ones too, is 400 in HTTP/2 as in HTTP/1: a rule on GET must not be evaded by get',
    explains: ({ request, decided }) =>
      decided?.reason === 'unknown-method' && ['h2', 'grpc'].includes(request.protocol),
  },
  {
    name: 'path-parameters',
    reason:
      'under a path rule, a path on whose parameters (`..;`, `;v=1`) the decision depends is 400: servers differ on what it names',
    explains: ({ decided }) => decided?.reason === 'ambiguous-path',
  },
  {
    name: 'no-spiffe-id',
    reason:
      'a name with characters that SPIFFE does not allow is nobody; Envoy takes any URI that begins like one',
    explains: ({ decided }) => decided === undefined,
  },
]
