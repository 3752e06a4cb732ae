import { generateKeyPairSync } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'

import { buildCsr, pemFromDer, readCertificate } from '#ca/x509/index.ts'
import { DeployError } from '../../error.ts'
import { CA_OPTIONS, openCaClient } from '../ca-client.ts'
import { isoText, remainingText } from '../ca-text.ts'
import { type Command, textOption } from '../command.ts'
import { parseDuration } from '../duration.ts'
import { OUTPUT_OPTION, outputFormat, print } from '../output.ts'

/** `redoubt ca issue`: a certificate for an administrator's own use. */
export const caIssue: Command = {
  name: 'ca issue',
  summary: 'issue a certificate with a new key: cert.pem, key.pem, bundle.pem',
  options: [
    { flags: '--id <spiffe-id>', summary: 'whom it names', required: true },
    { flags: '--ttl <duration>', summary: 'wanted life, e.g. 10m (default: that of workloads)' },
    { flags: '--out <dir>', summary: 'where to; made with mode 0700 if need be', required: true },
    ...CA_OPTIONS,
    OUTPUT_OPTION,
  ],
  examples: [
    {
      what: 'A certificate for ten minutes of debugging',
      command:
        'redoubt ca issue --id spiffe://cluster.local/ns/ops/sa/debug --ttl 10m --out ./debug',
    },
    {
      what: 'A certificate of the default life, from a CA elsewhere',
      command:
        'redoubt ca issue --id spiffe://cluster.local/ns/ops/sa/debug --out ./debug --ca ca.example:15012 --cert admin.pem --key admin-key.pem --bundle roots.pem',
    },
  ],
  async run(io, input, signal) {
    const ttl = textOption(input, 'ttl')
    const ttlSeconds = ttl === undefined ? 0 : wholeSeconds(ttl)
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const request = {
      spiffeId: textOption(input, 'id') ?? '',
      csr: Buffer.from(buildCsr(privateKey)),
      ttlSeconds,
    }
    using ca = await openCaClient(io, input, signal)
    const { svid, bundle } = await ca.call('issueFor', request, signal)
    const [leaf] = svid?.chain ?? []
    if (!svid || !leaf || !bundle) {
      throw new DeployError('DEPLOY_CALL_REFUSED', 'Cannot read the answer of the CA: it is empty')
    }
    const dir = resolve(io.cwd, textOption(input, 'out') ?? '')
    const files = {
      'cert.pem': pemFromDer('CERTIFICATE', svid.chain),
      'key.pem': privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      'bundle.pem': pemFromDer('CERTIFICATE', bundle.roots),
    }
    await mkdir(dir, { recursive: true, mode: 0o700 })
    for (const [name, text] of Object.entries(files)) {
      await writeFile(join(dir, name), text, { mode: 0o600 })
    }
    const { serial } = readCertificate(leaf)
    const { spiffeId, notAfterMs } = svid
    const value = {
      spiffeId,
      serial,
      notAfter: isoText(notAfterMs),
      files: Object.keys(files),
      dir,
    }
    print(io, outputFormat(input), value, () => [
      `${spiffeId}  serial ${serial}, ends ${isoText(notAfterMs)} (${remainingText(notAfterMs, io.now())})`,
      ...Object.keys(files).map((name) => `  ${join(dir, name)}`),
    ])
    return 0
  },
}

function wholeSeconds(text: string): number {
  const seconds = Math.floor(parseDuration(text) / 1000)
  if (seconds >= 1 && seconds < 2 ** 32) return seconds
  throw new DeployError('DEPLOY_USAGE', `Cannot issue for ${text}: expected a life of 1 s or more`)
}
