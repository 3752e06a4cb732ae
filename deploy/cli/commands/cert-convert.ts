/** `redoubt cert convert`: certificates, and the key of the first, in the container that somebody wants. */
import { randomBytes, X509Certificate } from 'node:crypto'

import { type Contents, MAX_INPUT_BYTES, toPkcs12, toPkcs7 } from '#ca/inspect/index.ts'
import { pemFromDer } from '#ca/x509/index.ts'
import { DeployError } from '../../error.ts'
import { type Command, type Input, type Io, textOption } from '../command.ts'
import { isKeyOf } from '../key-of.ts'
import { inPlace } from '../named-place.ts'
import { readNamed } from '../read-bytes.ts'
import { readContents } from '../read-contents.ts'
import { readKey } from '../read-key.ts'
import { readPassword } from '../read-password.ts'
import { writeNew } from '../write-new.ts'

const FORMATS = ['pem', 'der', 'p7b', 'p12', 'spiffe'] as const

export const certConvert: Command = {
  name: 'cert convert',
  summary: 'write certificates as PEM, DER, PKCS#7, a SPIFFE bundle or, with their key, PKCS#12',
  arguments: [
    { name: 'FILE|-', summary: 'whatever cert inspect reads from a file', required: true },
  ],
  options: [
    { flags: '--to <format>', summary: 'container to write', choices: FORMATS, required: true },
    {
      flags: '--out <file>',
      summary: 'new file to write; text goes to standard output without it',
    },
    {
      flags: '--key <file>',
      summary:
        'private key of the first certificate, PEM; for p12 (default: the one that came along)',
    },
    { flags: '--key-out <file>', summary: 'new file for the private key that came along, PEM' },
    { flags: '--input-password-file <file>', summary: 'its first line opens a PKCS#12' },
    {
      flags: '--password-file <file>',
      summary: 'its first line protects the key in a p12; never taken from the command line',
    },
  ],
  examples: [
    {
      what: 'Give a Java or Windows program what it reads',
      command:
        'redoubt cert convert cert.pem --key key.pem --password-file pass.txt --to p12 --out id.p12',
    },
    {
      what: 'And what such a program has, as PEM',
      command:
        'redoubt cert convert id.p12 --input-password-file pass.txt --to pem --out cert.pem --key-out key.pem',
    },
  ],
  async run(io, input) {
    const contents = await readInputOf(io, input)
    const to = textOption(input, 'to')
    const out = textOption(input, 'out')
    const isText = to === 'pem' || to === 'spiffe'
    if (out === undefined && !isText) {
      throw usage(`Cannot write ${to} to standard output: it is binary, expected --out FILE`)
    }
    const converted = await convert(io, input, to, contents)
    await writeKey(io, input, contents)
    if (out === undefined) io.out(String(converted).trimEnd())
    else await writeNew(io, out, converted)
    return 0
  },
}

async function readInputOf(io: Io, input: Input): Promise<Contents> {
  const [place = '-'] = input.arguments
  const password = await readPassword(io, textOption(input, 'inputPasswordFile'))
  const bytes = await readNamed(place, io.cwd, MAX_INPUT_BYTES)
  const contents = inPlace(place, () => readContents(bytes, password))
  if (contents.certificates.length > 0) return contents
  throw usage(`Cannot convert the ${contents.format}: there is no certificate in it`)
}

async function convert(
  io: Io,
  input: Input,
  to: string | undefined,
  contents: Contents,
): Promise<string | Uint8Array> {
  const { certificates } = contents
  switch (to) {
    case 'der': {
      const [only, ...more] = certificates
      if (only !== undefined && more.length === 0) return only
      throw usage(`Cannot write DER: there are ${certificates.length} certificates, expected one`)
    }
    case 'p7b':
      return toPkcs7(certificates)
    case 'p12':
      return toPkcs12({ certificates, ...(await readSecrets(io, input, contents)), randomBytes })
    case 'spiffe':
      return bundleOf(certificates)
    default:
      return pemFromDer('CERTIFICATE', certificates)
  }
}

/** X509-SVID §6.1: one key a certificate, without a name; sequence numbers are for who serves it. */
function bundleOf(certificates: readonly Uint8Array[]): string {
  const keys = certificates.map((der) => ({
    ...new X509Certificate(der).publicKey.export({ format: 'jwk' }),
    use: 'x509-svid',
    x5c: [Buffer.from(der).toString('base64')],
  }))
  return `${JSON.stringify({ keys }, undefined, 2)}\n`
}

async function writeKey(io: Io, input: Input, { key, format }: Contents): Promise<void> {
  const file = textOption(input, 'keyOut')
  if (file === undefined) return
  if (!key) throw usage(`Cannot write a private key to ${file}: the ${format} has none`)
  await writeNew(io, file, pemFromDer('PRIVATE KEY', key.export({ format: 'der', type: 'pkcs8' })))
}

async function readSecrets(
  io: Io,
  input: Input,
  { certificates, key: own }: Contents,
): Promise<{ readonly key: Uint8Array; readonly password: string }> {
  const keyFile = textOption(input, 'key')
  const password = await readPassword(io, textOption(input, 'passwordFile'))
  if (keyFile === undefined && !own) {
    throw usage('Cannot write PKCS#12: it holds a key, expected --key and --password-file')
  }
  if (password === undefined) {
    throw usage('Cannot write PKCS#12: it protects a key, expected --password-file')
  }
  const key = keyFile === undefined ? own : await readKey(io, keyFile)
  if (!key || !isKeyOf(key, certificates)) {
    throw usage(
      `Cannot write PKCS#12: ${keyFile ?? 'what came along'} is not the key of the first certificate, expected its own`,
    )
  }
  return { key: key.export({ format: 'der', type: 'pkcs8' }), password }
}

function usage(message: string): DeployError {
  return new DeployError('DEPLOY_USAGE', message)
}
