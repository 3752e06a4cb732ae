/** Calls of the CA's administration over mTLS, with a certificate that the owner of the mesh is given. */
import { generateKeyPairSync } from 'node:crypto'
import { Client, type ClientOptions, type MethodDefinition, type ServiceError } from '@grpc/grpc-js'

import { caTarget, svidChannelCredentials } from '#agent/client/index.ts'
import { AdministrationService } from '#ca/proto/gen/admin.ts'
import { parseSpiffeId, parseTrustDomain, trustDomainOf } from '#ca/spiffe/index.ts'
import { buildCsr, derFromPem, pemFromDer, readCertificate } from '#ca/x509/index.ts'
import { createLive } from '#core/live.ts'
import { DeployError } from '../error.ts'
import { askMesh } from '../standalone/admin-client.ts'
import type { AdministratorSvid } from '../standalone/messages.ts'
import { stateDirOf } from '../standalone/state-dir.ts'
import { type CommandOption, type Input, type Io, textOption } from './command.ts'
import { STATE_OPTION } from './state-option.ts'

/** How commands of `redoubt ca` find the CA and prove who asks. */
export const CA_OPTIONS: readonly CommandOption[] = [
  STATE_OPTION,
  {
    flags: '--ca <host:port>',
    summary: 'a CA elsewhere, or several with commas; with the next three options',
  },
  { flags: '--cert <file>', summary: "PEM of an administrator's certificate, chain included" },
  { flags: '--key <file>', summary: 'its private key, PEM' },
  { flags: '--bundle <file>', summary: 'roots to know the CA by, PEM' },
]

type Service = typeof AdministrationService
type Method = keyof Service

/** What a method takes and answers. */
export type RequestOf<Name extends Method> = Parameters<Service[Name]['requestSerialize']>[0]
export type ResponseOf<Name extends Method> = ReturnType<Service[Name]['responseDeserialize']>

/** An administrator's way to the CA. */
export interface CaClient extends Disposable {
  /** @throws {DeployError} `DEPLOY_CALL_REFUSED` with the CA's reason */
  readonly call: <Name extends Method>(
    method: Name,
    request: RequestOf<Name>,
    signal: AbortSignal,
  ) => Promise<ResponseOf<Name>>
}

/** What proves who calls, and how the CA is known. */
interface Access extends AdministratorSvid {
  /** PKCS#8, PEM. */
  readonly key: string
}

/**
 * Opens the way to the CA of the mesh that runs on the state directory, or to the one of `--ca`.
 *
 * @throws {DeployError} `DEPLOY_MESH_NOT_FOUND`, `DEPLOY_CALL_REFUSED`, `DEPLOY_USAGE`
 */
export async function openCaClient(io: Io, input: Input, signal: AbortSignal): Promise<CaClient> {
  const access = await (textOption(input, 'ca') === undefined
    ? ownerAccess(io, input, signal)
    : givenAccess(io, input))
  const trustDomain = parseTrustDomain(access.trustDomain)
  const roots = derFromPem('CERTIFICATE', access.roots)
  const credentials = svidChannelCredentials({
    svid: createLive({ chainPem: access.chain, keyPem: access.key }).live,
    bundles: () => [{ trustDomain, generation: access.generation, roots }],
    serverId: parseSpiffeId(access.serverId),
    now: io.now,
  })
  const client = new Client(caTarget(access.address), credentials, OPTIONS)
  return {
    call: (method, request, until) => call(client, method, request, until),
    [Symbol.dispose]: () => client.close(),
  }
}

/** `http_proxy` is the workloads' way into the mesh, never ours. */
const OPTIONS: ClientOptions = { 'grpc.enable_http_proxy': 0 }

/** The kernel says on `admin.sock` that we are the owner; the key that is certified stays here. */
async function ownerAccess(io: Io, input: Input, signal: AbortSignal): Promise<Access> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const csr = Buffer.from(buildCsr(privateKey)).toString('base64')
  const state = stateDirOf(textOption(input, 'state'), io.env, io.cwd)
  const path = `/administrator?csr=${encodeURIComponent(csr)}`
  const svid = (await askMesh(state, path, io, signal)) as AdministratorSvid
  return { ...svid, key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() }
}

async function givenAccess(io: Io, input: Input): Promise<Access> {
  const read = async (name: string): Promise<string> => {
    const file = textOption(input, name)
    if (file !== undefined) return io.readFile(file)
    throw new DeployError('DEPLOY_USAGE', `Cannot call the CA: --ca wants --${name} FILE, too`)
  }
  const [chain, key, roots] = [await read('cert'), await read('key'), await read('bundle')]
  const trustDomain = trustDomainIn(chain)
  return {
    address: textOption(input, 'ca') ?? '',
    trustDomain,
    serverId: `spiffe://${trustDomain}/ns/redoubt-system/sa/redoubt-ca`,
    chain: pemFromDer('CERTIFICATE', derFromPem('CERTIFICATE', chain)),
    key,
    roots,
    generation: 0,
  }
}

function trustDomainIn(chain: string): string {
  const [leaf] = derFromPem('CERTIFICATE', chain)
  const [id] = leaf ? readCertificate(leaf).uriSans : []
  if (id !== undefined) return trustDomainOf(parseSpiffeId(id))
  throw new DeployError(
    'DEPLOY_USAGE',
    'Cannot call the CA: the certificate of --cert has no SPIFFE ID',
  )
}

const METHODS: {
  readonly [Name in Method]: MethodDefinition<RequestOf<Name>, ResponseOf<Name>>
} = AdministrationService

/** Elapsed milliseconds for one call. */
const CALL_MS = 15_000

function call<Name extends Method>(
  client: Client,
  method: Name,
  request: RequestOf<Name>,
  signal: AbortSignal,
): Promise<ResponseOf<Name>> {
  const { path, requestSerialize, responseDeserialize } = METHODS[method]
  return new Promise((resolve, reject) => {
    const ended = AbortSignal.any([signal, AbortSignal.timeout(CALL_MS)])
    const started = client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      (cause, response) => {
        ended.removeEventListener('abort', cancel)
        if (cause || response === undefined) reject(refusalOf(cause))
        else resolve(response)
      },
    )
    const cancel = (): void => started.cancel()
    ended.addEventListener('abort', cancel, { once: true })
  })
}

/** Metadata of a refusal; see ca/serve/to-proto.ts. */
const REASON_KEY = 'redoubt-reason'
const RETRY_KEY = 'redoubt-retry-after-ms'

function refusalOf(cause: ServiceError | null): DeployError {
  if (!cause)
    return new DeployError('DEPLOY_CALL_REFUSED', 'Cannot call the CA: it answers nothing')
  const { details, metadata } = cause
  const [reason] = metadata.get(REASON_KEY)
  const [retryMs] = metadata.get(RETRY_KEY)
  const why = reason === undefined ? `Cannot call the CA: ${details}` : `${details} (${reason})`
  const hint = retryMs === undefined ? '' : `; ask again in ${Number(retryMs) / 1000} s`
  return new DeployError('DEPLOY_CALL_REFUSED', `${why}${hint}`)
}
