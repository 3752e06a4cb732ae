import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'

import type { Agent } from '#agent/index.ts'
import { parseSpiffeId, type SpiffeId } from '#ca/spiffe/index.ts'
import { derFromPem } from '#ca/x509/index.ts'
import type { Log } from '#core/log.ts'
import { DeployError } from '../../error.ts'
import { parseAddress } from '../../standalone/address.ts'
import { listenHealth } from '../../standalone/health-listener.ts'
import { openRemoteAgent, type RemoteProof } from '../../standalone/remote-agent.ts'
import { type Command, type Input, type Io, listOption, textOption } from '../command.ts'
import { parseForOption } from '../duration.ts'
import { OUTPUT_OPTION, outputFormat } from '../output.ts'
import { untilEnd } from '../until-end.ts'

/** `redoubt agent`: certificates of a mesh for a machine that is not under its supervisor. */
export const agent: Command = {
  name: 'agent',
  summary: 'serve certificates of a mesh elsewhere to users of this machine, until Ctrl-C',
  options: [
    { flags: '--ca <host:port>', summary: 'the CA; several with commas between', required: true },
    { flags: '--trust-bundle <file>', summary: 'roots that the CA is known by', required: true },
    { flags: '--id <spiffe-id>', summary: 'the name of this agent', required: true },
    { flags: '--x509 <file>', summary: "the machine's certificate and chain, to be let in by" },
    { flags: '--key <file>', summary: 'its private key' },
    { flags: '--join-token-file <file>', summary: 'in place of both: a token of ca token' },
    { flags: '--socket <path>', summary: 'where the Workload API and SDS are', required: true },
    {
      flags: '--user <uid=spiffe-id>',
      summary: 'whose processes get which identity',
      repeat: true,
      required: true,
    },
    { flags: '--metrics <host:port>', summary: '/metrics and /ready', default: '127.0.0.1:0' },
    { flags: '--for <duration>', summary: 'end by itself so long after it is ready, e.g. 30s' },
    OUTPUT_OPTION,
  ],
  examples: [
    {
      what: 'A database server that has a certificate of its own',
      command:
        'redoubt agent --ca ca.example:15012 --trust-bundle bundle.pem --id spiffe://cluster.local/machine/db-1.nodes.example --x509 machine.pem --key machine-key.pem --socket /run/redoubt/agent.sock --user 999=spiffe://cluster.local/ns/db/sa/postgres',
    },
    {
      what: 'One that has none, by a token that redoubt ca token wrote',
      command:
        'redoubt agent --ca ca.example:15012 --trust-bundle bundle.pem --id spiffe://cluster.local/machine/db-1 --join-token-file token --socket agent.sock --user 999=spiffe://cluster.local/ns/db/sa/postgres',
    },
  ],
  async run(io, input, signal) {
    const lastsMs = parseForOption(textOption(input, 'for'))
    const options = await optionsOf(io, input)
    const { clock, now, random } = io
    const ending = new AbortController()
    const either = AbortSignal.any([signal, ending.signal])
    await using opened = await openRemoteAgent(
      options,
      { clock, now, random, log: logTo(io) },
      either,
    )
    const at = parseAddress(textOption(input, 'metrics') ?? '')
    await using health = await listenHealth(at, opened)
    const { agentId, socketPath: socket } = options
    tell(io, input, { ready: true, agentId, socket, metrics: health.address })
    followEvents(io, input, opened, either)
    await untilEnd(lastsMs, clock, signal)
    ending.abort()
    return 0
  },
}

async function optionsOf({ cwd }: Io, input: Input) {
  const file = resolve(cwd, textOption(input, 'trustBundle') ?? '')
  const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw usage(`the trust bundle ${file} cannot be read (${cause.code})`)
  })
  return {
    caAddress: textOption(input, 'ca') ?? '',
    agentId: parseSpiffeId(textOption(input, 'id') ?? ''),
    roots: derFromPem('CERTIFICATE', text),
    socketPath: resolve(cwd, textOption(input, 'socket') ?? ''),
    proof: proofOf(cwd, input),
    users: usersOf(input),
  }
}

function proofOf(cwd: string, input: Input): RemoteProof {
  const [chain, key, token] = ['x509', 'key', 'joinTokenFile'].map((name) =>
    textOption(input, name),
  )
  if (chain !== undefined && key !== undefined && token === undefined) {
    return { kind: 'certificate', chainFile: resolve(cwd, chain), keyFile: resolve(cwd, key) }
  }
  if (token !== undefined && chain === undefined && key === undefined) {
    return { kind: 'join-token', tokenFile: resolve(cwd, token) }
  }
  throw usage('expected either --x509 and --key, or --join-token-file')
}

function usersOf(input: Input): ReadonlyMap<number, SpiffeId> {
  return new Map(
    listOption(input, 'user').map((written) => {
      const [, uid, id] = /^(\d{1,10})=(.+)$/.exec(written) ?? []
      if (uid === undefined || id === undefined) {
        throw usage(`--user is ${JSON.stringify(written)}, expected UID=SPIFFE_ID`)
      }
      return [Number(uid), parseSpiffeId(id)] as const
    }),
  )
}

type Told = Readonly<Record<string, unknown>>

function tell(io: Io, input: Input, value: Told): void {
  const format = outputFormat(input)
  if (format === 'json') return io.out(JSON.stringify(value))
  if (format === 'yaml') return io.out(`---\n${JSON.stringify(value)}`)
  io.out(
    Object.entries(value)
      .map(([name, one]) => `${name} ${String(one)}`)
      .join('  '),
  )
}

/** A line for each certificate, and for each change of what this node is to the CA. */
function followEvents(io: Io, input: Input, opened: Agent, signal: AbortSignal): void {
  opened.onRotated(({ spiffeId, serial, notAfter }) => {
    tell(io, input, { event: 'rotated', spiffeId, serial, notAfter: String(notAfter) })
  })
  const followNode = async (): Promise<void> => {
    let before = 'attested'
    for await (const state of opened.node.changes(signal)) {
      if (state.kind !== before) {
        const detail = state.kind === 'unattested' ? state.reason : state.svid.serial
        tell(io, input, { event: state.kind, detail })
      }
      before = state.kind
    }
  }
  void followNode()
}

/** What went wrong, a line of JSON each; the rest is in the events. */
function logTo(io: Io): Log {
  return (level, event, fields) => {
    if (level === 'warn' || level === 'error') io.err(JSON.stringify({ level, event, ...fields }))
  }
}

function usage(why: string): DeployError {
  return new DeployError('DEPLOY_USAGE', `Cannot start the agent: ${why}`)
}
