/**
 * Where Redoubt decides otherwise than Istio and Envoy on purpose (istio-semantics §0.8, end), with the
 * reason. What is not named here is a fault.
 */
import type { CheckResult } from '#policy/index.ts'
import type { OracleAnswer, OracleRequest } from './cases.ts'
import type { Verdict } from './tally.ts'

/** One request, and what became of it on both sides. */
export interface Pair {
  readonly request: OracleRequest
  readonly theirs: OracleAnswer
  /** Of our decision code, or of the sidecar. */
  readonly ours: Verdict
  /** `undefined`: the caller's name is no SPIFFE ID, so that it cannot be asked about. */
  readonly decided: CheckResult | undefined
  /** Manifests of the set, as JSON. */
  readonly text: string
}

export interface Difference {
  readonly name: string
  readonly reason: string
  readonly explains: (pair: Pair) => boolean
}

/** What a sidecar answers to by ALPN; no ALPN at all is `''`. */
const SPOKEN = ['', 'istio', 'istio-peer-exchange', 'istio-http/1.1', 'istio-h2', 'h2', 'http/1.1']

/** Whether some token of a request has empty parts, text behind it, or a header that demands extensions. */
function withOddToken({ headers = [], path = '' }: OracleRequest): boolean {
  const text = [path, ...headers.map(([, value]) => value)].join('\n')
  const isCritical = (header: string): boolean =>
    Buffer.from(header, 'base64url').toString('latin1').includes('"crit"')
  const isMisshapen = /\.\.|(^|[ =])\.|\.( |$)|eyJ[\w-]+\.[\w-]+\.[\w-]+ [^\s]/m.test(text)
  return isMisshapen || (text.match(/eyJ[\w-]+/g) ?? []).some(isCritical)
}

/** How many tokens a request shows, whatever is wrong with them. */
function countTokens({ headers = [], path = '' }: OracleRequest): number {
  const text = [path, ...headers.map(([, value]) => value)].join('\n')
  return (text.match(/eyJ[\w-]+\.[\w-]+\./g) ?? []).length
}

/** The version of HTTP that a client has agreed on with a sidecar, which takes the first of these that it offers. */
const AGREED = [
  ...[['istio-http/1.1', 'http/1.1'] as const, ['istio-h2', 'h2'] as const],
  ...[['h2', 'h2'] as const, ['http/1.1', 'http/1.1'] as const],
]

function agreedBy({ alpn = [] }: OracleRequest): string | undefined {
  return AGREED.find(([name]) => alpn.includes(name))?.[1]
}

/** Names of headers that policies ask for and never see from outside, and of those that Envoy makes itself. */
const ASKED =
  /request\.headers\[(te|trailer|proxy-authorization|x-(?:envoy|redoubt)-[\w-]+|x-forwarded-client-cert|:scheme)\]/gi
const OF_ENVOY = ['x-envoy-internal', 'x-forwarded-client-cert', ':scheme']

function asksForHidden({ text, request: { headers = [] } }: Pair): boolean {
  const sent = new Set(headers.map(([name]) => name.toLowerCase()))
  const asked = [...text.matchAll(ASKED)].map(([, name = '']) => name.toLowerCase())
  return asked.some((name) => sent.has(name) || OF_ENVOY.includes(name))
}

export const DIFFERENCES: readonly Difference[] = [
  {
    name: 'http2-method',
    reason:
      'a method that no list knows, lower-case ones too, is 400 in HTTP/2 as in HTTP/1: a rule on GET must not be evaded by get',
    explains: ({ request, ours, decided }) =>
      ours.status === 400 &&
      decided?.reason === 'unknown-method' &&
      ['h2', 'grpc'].includes(request.protocol),
  },
  {
    name: 'path-parameters',
    reason:
      'under a path rule, a path on whose parameters (`..;`, `;v=1`) the decision depends is 400: servers differ on what it names',
    explains: ({ ours, decided }) => ours.status === 400 && decided?.reason === 'ambiguous-path',
  },
  {
    name: 'dot-segment-parameters',
    reason:
      'a dot segment with parameters (`..;v`) is a name like others, as Istio has it (§0.8.14); Envoy resolves it, so that paths differ, and never lets in less',
    explains: ({ ours, theirs, request: { path = '' } }) =>
      /[/\\](\.|%2e){1,2};/i.test(path) && (!ours.isAllowed || theirs.decision === 'allow'),
  },
  {
    name: 'connect',
    reason:
      'CONNECT has nowhere to go at a sidecar, which says 404 whatever policies say; Envoy says 403 where they deny, and 404 then',
    explains: ({ request: { method }, ours, theirs }) =>
      method === 'CONNECT' && ours.status === 404 && theirs.status === 403,
  },
  {
    name: 'user-information',
    reason: 'user information in an absolute target is 400 (RFC 9110 §4.2.4); Envoy leaves it out',
    explains: ({ request: { path = '' }, ours, decided }) =>
      ours.status === 400 && decided?.reason === 'not-a-path' && /^https?:\/\/[^/]*@/i.test(path),
  },
  {
    name: 'query-without-path',
    reason:
      'an absolute target without a path but with a query is 400 as one in origin form is; Envoy says 404',
    explains: ({ request: { path = '' }, ours, decided, theirs }) =>
      ours.status === 400 &&
      decided?.reason === 'not-a-path' &&
      theirs.status === 404 &&
      /^https?:\/\/[^/]*\?/i.test(path),
  },
  {
    name: 'hidden-headers',
    reason:
      'policies see no header from outside that ends at a proxy or that only a sidecar may say; Envoy shows them some',
    explains: asksForHidden,
  },
  {
    name: 'empty-forwarded-proto',
    reason:
      'an x-forwarded-proto that says nothing is a header like others; Envoy looks for a route by it, and says 404',
    explains: ({ request: { headers = [] }, theirs }) =>
      theirs.status === 404 &&
      headers.some(([name, value]) => /^x-forwarded-proto$/i.test(name) && value === ''),
  },
  {
    name: 'unknown-expectation',
    reason:
      'an Expect that nobody knows is 400: whoever waits for it would wait in vain (RFC 9110 §10.1.1)',
    explains: ({ ours, request: { headers = [] } }) =>
      ours.status === 400 &&
      headers.some(
        ([name, value]) => /^expect$/i.test(name) && value.toLowerCase() !== '100-continue',
      ),
  },
  {
    name: 'body-in-one-frame',
    reason:
      'a body that is more than a provider may be shown is 413, in one frame of HTTP/2 too (§1.11); Envoy does not count the frame that ends a stream',
    explains: ({ ours, request: { protocol, body = '' }, text }) =>
      (protocol === 'h2' || protocol === 'grpc') &&
      (ours.status === 413 || (ours.status === 200 && ours.body === 'Payload Too Large')) &&
      body.length > 8 &&
      text.includes('"CUSTOM"'),
  },
  {
    name: 'token-padding',
    reason:
      'a token whose parts are padded with `=` is no token (RFC 7515 §2); Envoy goes on, and refuses it for another reason',
    explains: ({ decided, theirs }) =>
      theirs.decision === 'deny' &&
      decided?.detail?.endsWith('an invalid Base64url encoded') === true,
  },
  {
    name: 'token-form',
    reason:
      'a token with an empty part or text behind it, or whose header demands what nobody here knows (`crit`), does not verify (RFC 7515 §4.1.11, §7.1); Envoy ignores the one, the other where the key is elliptic, and the third',
    explains: ({ decided, theirs, request }) =>
      decided?.reason === 'token-refused' &&
      // With several tokens what is told may be of another one, which a rule beside this one has refused.
      (decided.detail === 'Jwt verification fails' || countTokens(request) > 1) &&
      (theirs.decision === 'allow' || theirs.details?.startsWith('rbac_') === true) &&
      withOddToken(request),
  },
  {
    name: 'alpn-without-overlap',
    reason:
      'a client that offers by ALPN nothing that is spoken here is told so in the handshake (RFC 7301 §3.2); Envoy goes on without',
    explains: ({ request: { alpn = [''] }, ours, decided, theirs }) =>
      !ours.isAllowed &&
      ours.status === null &&
      theirs.chain !== undefined &&
      decided !== undefined &&
      !SPOKEN.some((one) => alpn.includes(one)),
  },
  {
    name: 'alpn-not-kept',
    reason:
      'a client that has agreed by ALPN on one version of HTTP and speaks another, or something else, is not served; Envoy knows nothing of istio-h2 and istio-http/1.1 there, and looks at what comes',
    explains: ({ request, ours, theirs }) => {
      const agreed = agreedBy(request)
      const spoken = request.protocol === 'grpc' ? 'h2' : request.protocol
      const isRefused = !ours.isAllowed && (ours.status === null || ours.status === 400)
      return isRefused && agreed !== undefined && agreed !== spoken && theirs.chain === 'http'
    },
  },
  {
    name: 'http2-field-space',
    reason:
      'a field that begins or ends with white space is none in HTTP/2 (RFC 9113 §8.2.1): neither policies nor the app see it; Envoy takes it as it is',
    explains: ({ request: { protocol, headers = [] } }) =>
      (protocol === 'h2' || protocol === 'grpc') &&
      headers.some(([, value]) => /^[\t ]|[\t ]$/.test(value)),
  },
  {
    name: 'no-spiffe-id',
    reason:
      'a name with characters that SPIFFE does not allow is nobody; Envoy takes any URI that begins like one',
    explains: ({ ours, decided }) => decided === undefined && !ours.isAllowed,
  },
]
