/** `redoubt cert request`: a new key, or one that is there, and the request to have it certified. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'

import { parseSpiffeId } from '#ca/spiffe/index.ts'
import { buildCsr, pemFromDer } from '#ca/x509/index.ts'
import { DeployError } from '../../error.ts'
import { type Command, type Input, type Io, listOption, textOption } from '../command.ts'
import { OUTPUT_OPTION, outputFormat, print } from '../output.ts'
import { readKey } from '../read-key.ts'
import { writeNew } from '../write-new.ts'

/** What our CA signs for. */
const KEYS: Readonly<Record<string, () => KeyObject>> = {
  p256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
  p384: () => generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
  ed25519: () => generateKeyPairSync('ed25519').privateKey,
  rsa2048: () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
  rsa3072: () => generateKeyPairSync('rsa', { modulusLength: 3072 }).privateKey,
  rsa4096: () => generateKeyPairSync('rsa', { modulusLength: 4096 }).privateKey,
}

export const certRequest: Command = {
  name: 'cert request',
  summary: 'make a key and a certificate request (PKCS#10) for it',
  options: [
    { flags: '--out <dir>', summary: 'folder for key.pem and request.pem, made if need be' },
    {
      flags: '--key-type <type>',
      summary: 'kind of the new key',
      choices: Object.keys(KEYS),
      default: 'p256',
    },
    { flags: '--key <file>', summary: 'a private key that is there, PEM, in place of a new one' },
    {
      flags: '--id <spiffe-id>',
      summary: 'SPIFFE ID to ask for (our CA gives the one that it attests)',
    },
    { flags: '--dns <name>', summary: 'DNS name to ask for', repeat: true },
    OUTPUT_OPTION,
  ],
  examples: [
    { what: 'A key and its request in a new folder', command: 'redoubt cert request --out api' },
    {
      what: 'A request for a key that is there, to standard output',
      command: 'redoubt cert request --key key.pem --id spiffe://cluster.local/ns/pay/sa/api',
    },
  ],
  async run(io, input) {
    const keyFile = textOption(input, 'key')
    const out = textOption(input, 'out')
    if (keyFile === undefined && out === undefined) {
      throw usage(
        'Cannot make a key: there is nowhere to keep it, expected --out DIR or --key FILE',
      )
    }
    const key = keyFile === undefined ? newKey(input) : await readKey(io, keyFile)
    const request = pemFromDer('CERTIFICATE REQUEST', requestFor(key, input))
    if (out === undefined) {
      io.out(request.trimEnd())
      return 0
    }
    const files = await writeFiles(io, out, {
      ...(keyFile === undefined && { 'key.pem': pemOf(key) }),
      'request.pem': request,
    })
    print(io, outputFormat(input), { files }, () => files)
    return 0
  },
}

function requestFor(key: KeyObject, input: Input): Uint8Array {
  const id = textOption(input, 'id')
  const uris = id === undefined ? [] : [parseSpiffeId(id)]
  return buildCsr(key, { uris, dns: listOption(input, 'dns') })
}

function newKey(input: Input): KeyObject {
  const make = KEYS[textOption(input, 'keyType') ?? 'p256'] ?? KEYS['p256']
  if (!make) throw usage('Cannot make a key: its kind is not known')
  return make()
}

function pemOf(key: KeyObject): string {
  return pemFromDer('PRIVATE KEY', key.export({ format: 'der', type: 'pkcs8' }))
}

/** The key first: where one is there already nothing is written over it. */
async function writeFiles(
  io: Io,
  folder: string,
  files: Readonly<Record<string, string>>,
): Promise<readonly string[]> {
  await mkdir(resolve(io.cwd, folder), { recursive: true, mode: 0o700 })
  const written: string[] = []
  for (const [name, text] of Object.entries(files)) {
    const file = join(folder, name)
    await writeNew(io, file, text)
    written.push(file)
  }
  return written
}

function usage(message: string): DeployError {
  return new DeployError('DEPLOY_USAGE', message)
}
