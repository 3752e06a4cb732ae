/** `redoubt cert inspect`: what a certificate says, whether it holds, and what to do if not. */
import { type Inspection, renderInspection } from '#ca/inspect/index.ts'
import { pemFromDer } from '#ca/x509/index.ts'
import { LOG_KEY_OPTION } from '../ca-log.ts'
import { type Command, flagOption, type Input, type Io, textOption } from '../command.ts'
import { stateDirOf } from '../../standalone/state-dir.ts'
import { DeployError } from '../../error.ts'
import { findCertificates, type Found } from '../find-certificates.ts'
import { inspectFound, isGood } from '../inspection.ts'
import { OUTPUT_OPTION, outputFormat, print, styleOf } from '../output.ts'
import { readRunningMesh } from '../running-mesh.ts'
import { SOURCE_OPTIONS } from '../source-options.ts'
import { STATE_OPTION } from '../state-option.ts'
import { watchCertificates } from '../watch-certificates.ts'

export const certInspect: Command = {
  name: 'cert inspect',
  summary: 'show and judge certificates: of a file, an endpoint, a running workload, an agent',
  arguments: [
    {
      name: 'FILE|-|HOST:PORT',
      summary:
        'PEM, DER, PKCS#7, PKCS#12, a request, a JWT-SVID, a SPIFFE bundle, a Kubernetes Secret; or a TLS server',
    },
  ],
  options: [
    ...SOURCE_OPTIONS,
    {
      flags: '--expect <spiffe-id>',
      summary: 'the SPIFFE ID that it has to be; 1 if it is another',
    },
    { flags: '--min-remaining <duration>', summary: '1 if any of it ends sooner, e.g. 10m, 30d' },
    { flags: '--audience <name>', summary: 'whom a JWT-SVID has to be for' },
    { flags: '--watch', summary: 'look again and again, and print a line for each rotation' },
    { flags: '--interval <duration>', summary: 'how often to look', default: '1s' },
    { flags: '--for <duration>', summary: 'how long to watch (default: until Ctrl-C)' },
    { flags: '--log-proof <file>', summary: 'proof of ca log prove to check with --log-key' },
    LOG_KEY_OPTION,
    STATE_OPTION,
    { ...OUTPUT_OPTION, choices: ['text', 'json', 'yaml', 'pem'] },
  ],
  examples: [
    {
      what: 'Show the certificate that a running sidecar serves, verified up to the root',
      command: 'redoubt cert inspect --workload qotm/qotm-v1',
    },
    {
      what: 'Fail a script when a certificate is not the SVID that it should be, or ends within ten minutes',
      command:
        'redoubt cert inspect cert.pem --bundle bundle.pem --expect spiffe://cluster.local/ns/pay/sa/api --min-remaining 10m',
    },
  ],
  async run(io, input, signal) {
    const look = async (): Promise<[Found, Inspection]> => {
      const mesh = await readRunningMesh(stateDirOf(textOption(input, 'state'), io.env, io.cwd))
      const found = await findCertificates(io, input, mesh, signal)
      return [found, await inspectFound(io, input, found, mesh, signal)]
    }
    if (flagOption(input, 'watch')) {
      return watchCertificates(io, input, async () => (await look())[1], signal)
    }
    const [found, inspection] = await look()
    show(io, input, found, inspection)
    return isGood(inspection) ? 0 : 1
  },
}

function show(io: Io, input: Input, { contents }: Found, inspection: Inspection): void {
  if (textOption(input, 'output') === 'pem') {
    io.out(pemOf(contents))
    return
  }
  const { certificates, chain, requests, tokens, origin } = inspection
  const value = {
    certificates,
    chain,
    ...(requests.length > 0 && { requests }),
    ...(tokens.length > 0 && { tokens }),
    ...(origin.length > 0 && { origin: Object.fromEntries(origin) }),
  }
  print(io, outputFormat(input), value, () => renderInspection(inspection, styleOf(io)))
}

/** Never a key or a token: both are secrets. */
function pemOf({ certificates, roots = [], requests = [] }: Found['contents']): string {
  const pem =
    pemFromDer('CERTIFICATE', [...certificates, ...roots]) +
    pemFromDer('CERTIFICATE REQUEST', requests)
  if (pem !== '') return pem.trimEnd()
  throw new DeployError('DEPLOY_USAGE', 'Cannot write PEM: there is no certificate and no request')
}
