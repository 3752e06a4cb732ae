/** `redoubt cert convert`: certificates, and the key of the first, in the container that somebody wants. */
import { createPrivateKey, type KeyObject, randomBytes, X509Certificate } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'

import { MAX_INPUT_BYTES, readCertificates, toPkcs12, toPkcs7 } from '#ca/inspect/index.ts'
import { pemFromDer } from '#ca/x509/index.ts'
import { DeployError } from '../../error.ts'
import { type Command, type Input, type Io, textOption } from '../command.ts'
import { readBytes } from '../read-bytes.ts'

const FORMATS = ['pem', 'der', 'p7b', 'p12'] as const

export const certConvert: Command = {
  name: 'cert convert',
  summary: 'write certificates as PEM, DER, PKCS#7 or, with their key, PKCS#12',
  arguments: [{ name: 'FILE|-', summary: 'PEM, DER or a SPIFFE bundle', required: true }],
  options: [
    { flags: '--to <format>', summary: 'container to write', choices: FORMATS, required: true },
    { flags: '--out <file>', summary: 'new file to write; PEM goes to standard output without it' },
    { flags: '--key <file>', summary: 'private key of the first certificate, PEM; for p12' },
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
      what: 'Take the roots out of a SPIFFE bundle',
      command: 'redoubt cert convert bundle.json --to pem',
    },
  ],
  async run(io, input) {
    const [place = '-'] = input.arguments
    const certificates = readCertificates(await readBytes(place, io.cwd, MAX_INPUT_BYTES))
    const to = textOption(input, 'to')
    const out = textOption(input, 'out')
    if (to === 'pem' && out === undefined) {
      io.out(pemFromDer('CERTIFICATE', certificates).trimEnd())
      return 0
    }
    if (out === undefined) {
      throw usage(`Cannot write ${to} to standard output: it is binary, expected --out FILE`)
    }
    await writeNew(io, out, await convert(io, input, to, certificates))
    return 0
  },
}

async function convert(
  io: Io,
  input: Input,
  to: string | undefined,
  certificates: readonly Uint8Array[],
): Promise<string | Uint8Array> {
  switch (to) {
    case 'der': {
      const [only, ...more] = certificates
      if (only !== undefined && more.length === 0) return only
      throw usage(`Cannot write DER: there are ${certificates.length} certificates, expected one`)
    }
    case 'p7b':
      return toPkcs7(certificates)
    case 'p12':
      return toPkcs12({
        certificates,
        ...(await readSecrets(io, input, certificates)),
        randomBytes,
      })
    default:
      return pemFromDer('CERTIFICATE', certificates)
  }
}

async function readSecrets(
  io: Io,
  input: Input,
  [leaf]: readonly Uint8Array[],
): Promise<{ readonly key: Uint8Array; readonly password: string }> {
  const keyFile = textOption(input, 'key')
  const passwordFile = textOption(input, 'passwordFile')
  if (keyFile === undefined || passwordFile === undefined) {
    throw usage('Cannot write PKCS#12: it holds a key, expected --key and --password-file')
  }
  const key = readKey(await readFile(resolve(io.cwd, keyFile), 'utf8'), keyFile)
  if (leaf === undefined || !new X509Certificate(leaf).checkPrivateKey(key)) {
    throw usage(
      `Cannot write PKCS#12: ${keyFile} is not the key of the first certificate, expected its own`,
    )
  }
  const [password = ''] = (await readFile(resolve(io.cwd, passwordFile), 'utf8')).split(/\r?\n/)
  if (password === '')
    throw usage(`Cannot write PKCS#12: the first line of ${passwordFile} is empty`)
  return { key: key.export({ format: 'der', type: 'pkcs8' }), password }
}

function readKey(pem: string, file: string): KeyObject {
  try {
    return createPrivateKey(pem)
  } catch (cause) {
    throw usage(`Cannot read the key in ${file}: it is not an unencrypted PEM private key`, cause)
  }
}

/** Never over a file that is there; for nobody else to read, since there may be a key in it. */
async function writeNew(io: Io, file: string, content: string | Uint8Array): Promise<void> {
  try {
    await writeFile(resolve(io.cwd, file), content, { flag: 'wx', mode: 0o600 })
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
    throw usage(`Cannot write ${file}: it is there already, expected a new file`, cause)
  }
}

function usage(message: string, cause?: unknown): DeployError {
  return new DeployError('DEPLOY_USAGE', message, { cause })
}
