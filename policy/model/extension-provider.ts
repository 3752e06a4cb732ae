/**
 * Who is asked by a CUSTOM policy, as a sidecar's bundle carries it: MeshConfig's `envoyExtAuthzHttp`
 * and `envoyExtAuthzGrpc` (istio-semantics §1.11), defaults filled in.
 */
import {
  bool,
  list,
  map,
  object,
  oneOf,
  optional,
  type Reader,
  tagged,
  text,
  whole,
} from './read-json.ts'

/** How much of a request's body goes along with the question. */
export interface CheckedBody {
  /** Bytes, at least 1. */
  readonly maxBytes: number
  /** A longer body: ask with its beginning. Else it is 413, whatever {@link Authorizer.failOpen} says. */
  readonly allowPartial: boolean
  /** gRPC alone: `raw_body` instead of `body`. */
  readonly asBytes: boolean
}

/** What both protocols share. */
export interface Authorizer {
  /** FQDN of a Service or ServiceEntry, lower case. */
  readonly host: string
  /** 1..65535 */
  readonly port: number
  readonly timeoutMs: number
  /** Let through what cannot be asked about. */
  readonly failOpen: boolean
  /** Answered when it could not be asked, 200..511. */
  readonly statusOnError: number
  /** Left out: no body goes along. */
  readonly body?: CheckedBody
}

/** A header name, lower case; `exact` and its beginning or end. */
export interface NamePattern {
  readonly kind: 'exact' | 'prefix' | 'suffix'
  readonly value: string
}

export interface HttpAuthorizer extends Authorizer {
  readonly kind: 'http'
  /** Put before the path; '' or beginning with a slash. */
  readonly pathPrefix: string
  /** Of the request, beside those that always go. */
  readonly checkHeaders: readonly NamePattern[]
  /** Fixed ones, names in lower case; they win over the request's. */
  readonly addedHeaders: Readonly<Record<string, string>>
  /** Of an allowing answer, for the app. */
  readonly toUpstream: readonly NamePattern[]
  /** Of a refusal, for the client; left out: all. */
  readonly toDownstreamOnDeny?: readonly NamePattern[]
  /** Of an allowing answer, for the client. */
  readonly toDownstreamOnAllow: readonly NamePattern[]
}

export interface GrpcAuthorizer extends Authorizer {
  readonly kind: 'grpc'
}

/** A service that is asked. */
export type ServiceProvider = HttpAuthorizer | GrpcAuthorizer

/** A CasbinPolicy: decided in the sidecar. */
export interface CasbinDecider {
  readonly kind: 'casbin'
  /** Casbin's configuration text. */
  readonly model: string
  /** Each: its definition (`p`, `g`…), then its columns. */
  readonly lines: readonly (readonly string[])[]
  /** Attributes by field of the model's request definition; others have their defaults. */
  readonly request: Readonly<Record<string, string>>
  /** Milliseconds that one decision may take. */
  readonly timeMs: number
  /** What is wrong with its texts: a sidecar refuses the bundle with these words, and keeps what it has. */
  readonly fault?: string
}

export type ExtensionProvider = ServiceProvider | CasbinDecider

const namePattern: Reader<NamePattern> = object<NamePattern>({
  kind: oneOf(['exact', 'prefix', 'suffix']),
  value: text,
})

const common = {
  host: text,
  port: whole(1, 65535),
  timeoutMs: whole(1, Number.MAX_SAFE_INTEGER),
  failOpen: bool,
  statusOnError: whole(100, 599),
  body: optional(
    object<CheckedBody>({
      maxBytes: whole(1, Number.MAX_SAFE_INTEGER),
      allowPartial: bool,
      asBytes: bool,
    }),
  ),
}

/** An {@link ExtensionProvider} in a bundle. */
export const extensionProvider: Reader<ExtensionProvider> = tagged<ExtensionProvider>({
  http: object<HttpAuthorizer>({
    kind: oneOf(['http']),
    ...common,
    pathPrefix: text,
    checkHeaders: list(namePattern),
    addedHeaders: map(text),
    toUpstream: list(namePattern),
    toDownstreamOnDeny: optional(list(namePattern)),
    toDownstreamOnAllow: list(namePattern),
  }),
  grpc: object<GrpcAuthorizer>({ kind: oneOf(['grpc']), ...common }),
  casbin: object<CasbinDecider>({
    kind: oneOf(['casbin']),
    model: text,
    lines: list(list(text)),
    request: map(text),
    timeMs: whole(1, Number.MAX_SAFE_INTEGER),
    fault: optional(text),
  }),
})
