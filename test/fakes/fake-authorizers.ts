/** External authorizers that behave: one speaks HTTP as Ambassador's AuthServices do, one gRPC as OPA does. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import {
  AuthorizationService,
  type CheckRequest,
  type CheckResponse,
  type OkHttpResponse,
} from '../../proxy/proto/gen/envoy/service/auth/v3/external_auth.ts'

export interface AskedOverHttp {
  readonly method: string
  readonly target: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

export interface HttpAuthorizerServer extends AsyncDisposable {
  /** `host:port` */
  readonly address: string
  readonly asked: readonly AskedOverHttp[]
}

/** Answers each question by `answer`; without it: 200 if the question says `x-ext-authz: allow`, else 403. */
export async function openHttpAuthorizer(
  answer: (asked: AskedOverHttp, response: ServerResponse) => void = allowWhenAsked,
): Promise<HttpAuthorizerServer> {
  const asked: AskedOverHttp[] = []
  const server = createServer((request, response) => {
    const pieces: Buffer[] = []
    request.on('data', (piece: Buffer) => pieces.push(piece))
    request.on('end', () => {
      const { method = '', url = '', headers } = request
      const one = { method, target: url, headers, body: Buffer.concat(pieces).toString('latin1') }
      asked.push(one)
      answer(one, response)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const at = server.address()
  return {
    address: `127.0.0.1:${typeof at === 'object' && at !== null ? at.port : 0}`,
    asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

function allowWhenAsked({ headers }: AskedOverHttp, response: ServerResponse): void {
  const allowed = headers['x-ext-authz'] === 'allow'
  response.writeHead(allowed ? 200 : 403, { 'x-ext-authz-result': allowed ? 'allowed' : 'denied' })
  response.end(allowed ? '' : 'denied by ext_authz')
}

export interface GrpcAuthorizerServer extends AsyncDisposable {
  readonly address: string
  readonly asked: readonly CheckRequest[]
}

/** A real gRPC server; `undefined` from `answer` is an error of the call. */
export async function openGrpcAuthorizer(
  answer: (asked: CheckRequest) => CheckResponse | undefined | Promise<CheckResponse | undefined>,
): Promise<GrpcAuthorizerServer> {
  const asked: CheckRequest[] = []
  const server = new Server()
  server.addService(AuthorizationService, {
    check(
      call: { readonly request: CheckRequest },
      done: (cause: Error | null, answered?: CheckResponse) => void,
    ) {
      asked.push(call.request)
      void Promise.resolve(answer(call.request)).then((said) =>
        said === undefined ? done(new Error('the authorizer broke')) : done(null, said),
      )
    },
  })
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (cause, bound) =>
      cause === null ? resolve(bound) : reject(cause),
    )
  })
  return {
    address: `127.0.0.1:${port}`,
    asked,
    async [Symbol.asyncDispose]() {
      server.forceShutdown()
    },
  }
}

/** A yes, with what it changes. */
export function saysYes(changes: Partial<OkHttpResponse> = {}): CheckResponse {
  return {
    status: { code: 0, message: '' },
    httpResponse: {
      $case: 'okResponse',
      okResponse: {
        headers: [],
        headersToRemove: [],
        responseHeadersToAdd: [],
        queryParametersToSet: [],
        queryParametersToRemove: [],
        ...changes,
      },
    },
  }
}

/** A header of an answer. */
export function said(
  key: string,
  value: string,
  more: { readonly append?: boolean; readonly appendAction?: number } = {},
): OkHttpResponse['headers'][number] {
  const { append, appendAction = 0 } = more
  const header = { key, value, rawValue: Buffer.alloc(0) }
  return { header, append, appendAction, keepEmptyValue: false }
}
