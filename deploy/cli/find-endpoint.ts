/** The certificates that a TLS server shows, for `redoubt cert`. */
import type { Contents, Origin } from '#ca/inspect/index.ts'
import { DeployError } from '../error.ts'
import { type Input, type Io, listOption, textOption } from './command.ts'
import { type Endpoint, fetchChain } from './fetch-chain.ts'
import { isKeyOf } from './key-of.ts'
import { inPlace } from './named-place.ts'
import { readContents } from './read-contents.ts'
import { readKey } from './read-key.ts'
import { readText } from './read-text.ts'

/**
 * Shakes hands with the server at `address` as `input` says: name, protocols, certificate.
 *
 * @throws {DeployError} `DEPLOY_CALL_REFUSED` if it cannot be reached or shows none, `DEPLOY_USAGE` if
 *   what it is to be shown cannot be read
 */
export async function fromEndpoint(
  io: Io,
  input: Input,
  address: Pick<Endpoint, 'host' | 'port'>,
  signal: AbortSignal,
): Promise<{ readonly contents: Contents; readonly origin: Origin }> {
  const sni = textOption(input, 'sni')
  const alpn = listOption(input, 'alpn')
  const client = await clientOf(io, input)
  const shown = await fetchChain(
    {
      ...address,
      ...(sni !== undefined && { sni }),
      ...(alpn.length > 0 && { alpn }),
      ...(client && { client }),
    },
    signal,
  )
  const where = `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`
  if (shown.kind === 'failed')
    throw new DeployError('DEPLOY_CALL_REFUSED', `Cannot inspect ${where}: ${shown.why}`)
  if (shown.chain.length === 0)
    throw new DeployError(
      'DEPLOY_CALL_REFUSED',
      `Cannot inspect ${where}: it showed no certificate`,
    )
  const negotiated = [shown.protocol, shown.cipher, shown.group, shown.alpn].filter(Boolean)
  return {
    contents: { format: 'TLS', certificates: shown.chain },
    origin: [
      ['endpoint', where],
      ['negotiated', negotiated.join(' ')],
    ],
  }
}

async function clientOf(io: Io, input: Input): Promise<Endpoint['client']> {
  const [cert, key] = [textOption(input, 'clientCert'), textOption(input, 'clientKey')]
  if (cert === undefined && key === undefined) return undefined
  if (cert === undefined || key === undefined) {
    throw new DeployError(
      'DEPLOY_USAGE',
      'Cannot present a certificate: expected both --client-cert and --client-key',
    )
  }
  const [pem, own] = [await readText(io, cert), await readKey(io, key)]
  const { certificates } = inPlace(cert, () => readContents(Buffer.from(pem)))
  if (isKeyOf(own, certificates)) return { cert: pem, key: String(own.export(PKCS8)) }
  throw new DeployError(
    'DEPLOY_USAGE',
    `Cannot present ${cert}: the key in ${key} is not that of its first certificate`,
  )
}

const PKCS8 = { format: 'pem', type: 'pkcs8' } as const
