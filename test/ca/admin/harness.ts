/** An administrator of a CA, whose TLS stack is OpenSSL's own. */
import type { KeyObject } from 'node:crypto'
import { ChannelCredentials, Client, type MethodDefinition } from '@grpc/grpc-js'
import type { Ca } from '#ca/index.ts'
import { AdministrationService } from '#ca/proto/gen/admin.ts'
import { pemFromDer } from '#ca/x509/index.ts'
import { newCsr, newKey } from '../harness.ts'

type Service = typeof AdministrationService
type Request<Name extends keyof Service> = Parameters<Service[Name]['requestSerialize']>[0]
type Response<Name extends keyof Service> = ReturnType<Service[Name]['responseDeserialize']>

const METHODS: {
  readonly [Name in keyof Service]: MethodDefinition<Request<Name>, Response<Name>>
} = AdministrationService

/** Somebody who calls the administration. */
export interface AdminClient extends Disposable {
  readonly call: <Name extends keyof Service>(
    method: Name,
    request: Request<Name>,
  ) => Promise<Response<Name>>
}

/** @param identity - Left out: a caller without a certificate. */
export function adminClient(
  ca: Ca,
  identity?: { readonly chain: readonly Uint8Array[]; readonly key: KeyObject },
): AdminClient {
  const roots = Buffer.from(pemFromDer('CERTIFICATE', ca.bundle.current.roots))
  const key = identity && Buffer.from(identity.key.export({ type: 'pkcs8', format: 'pem' }))
  const chain = identity && Buffer.from(pemFromDer('CERTIFICATE', identity.chain))
  const credentials = ChannelCredentials.createSsl(roots, key ?? null, chain ?? null, {
    checkServerIdentity: () => undefined,
    rejectUnauthorized: false, // time is not always the machine's
  })
  const client = new Client(ca.address, credentials, {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.ssl_target_name_override': 'ca.invalid',
  })
  return {
    call: (method, request) =>
      new Promise((resolve, reject) => {
        const { path, requestSerialize, responseDeserialize } = METHODS[method]
        client.makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize,
          request,
          (cause, to) => (cause || to === undefined ? reject(cause) : resolve(to)),
        )
      }),
    [Symbol.dispose]: () => client.close(),
  }
}

/** A client whom the CA takes for its administrator, as the owner of a mesh is taken. */
export async function administrator(ca: Ca): Promise<AdminClient> {
  const key = newKey()
  const { chain } = await ca.admitAdministrator({ name: 'uid:1000' }, newCsr(key))
  return adminClient(ca, { chain, key })
}

/** Asks for rows with the filters left out. */
export const EVERYTHING = {
  serial: '',
  subject: '',
  issuerSerial: '',
  ended: true,
  limit: 0,
  before: 0n,
} as const
