/** A PostgreSQL server of our own, in a directory that is gone afterwards: TLS, and passwords. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A server that runs. */
export interface Cluster extends AsyncDisposable {
  /** Without a password: that is in `passwordFile`. */
  readonly url: string
  readonly passwordFile: string
  /** PEM of who vouches for it. */
  readonly caFile: string
}

/** The folder of the server's programs; `undefined` where there is none. */
export function findPostgres(): string | undefined {
  const folders = [
    ...(process.env['PATH'] ?? '').split(':'),
    ...globSync('/usr/lib/postgresql/*/bin').toSorted().toReversed(),
    ...globSync('/usr/pgsql-*/bin').toSorted().toReversed(),
  ]
  return folders.find((folder) => globSync(join(folder, 'initdb')).length > 0)
}

/** It does not run as root: then another user has to be it. */
function otherUser(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const passwd = readFileSync('/etc/passwd', 'utf8')
  const [, uid, gid] = /^(?:postgres|nobody):[^:]*:(\d+):(\d+):/m.exec(passwd) ?? []
  return uid === undefined ? undefined : { uid: Number(uid), gid: Number(gid) }
}

/** Starts a server with the programs in `bin`. */
export async function startCluster(bin: string): Promise<Cluster> {
  const path = mkdtempSync(join(tmpdir(), 'redoubt-postgres-'))
  const as = otherUser()
  const owned = (file: string): string => {
    if (as) chownSync(file, as.uid, as.gid)
    return file
  }
  owned(path)
  const passwordFile = join(path, 'password')
  writeFileSync(passwordFile, 'a password for tests\n', { mode: 0o600 })
  owned(passwordFile)
  const data = join(path, 'data')
  const run = (program: string, args: readonly string[]): void =>
    void execFileSync(join(bin, program), args, { cwd: path, stdio: 'pipe', ...as })
  run('initdb', [
    ...['-D', data, '-U', 'redoubt', '--auth=scram-sha-256', `--pwfile=${passwordFile}`],
    ...['--encoding=UTF8', '--no-locale', '--no-sync'],
  ])
  const certificate = ['-keyout', join(data, 'server.key'), '-out', join(data, 'server.crt')]
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-days', '2', '-subj', '/CN=ledger', '-addext', 'subjectAltName=IP:127.0.0.1'],
      ...certificate,
    ],
    { stdio: 'pipe' },
  )
  for (const name of ['server.key', 'server.crt']) owned(join(data, name))
  const port = await freePort()
  const settings = { port, listen_addresses: '127.0.0.1', ssl: 'on', max_connections: 100 }
  const options = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const server = spawn(join(bin, 'postgres'), ['-D', data, '-k', path, ...options], {
    cwd: path,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...as,
  })
  await untilReady(server)
  return {
    url: `postgres://redoubt@127.0.0.1:${port}/postgres`,
    passwordFile,
    caFile: join(data, 'server.crt'),
    async [Symbol.asyncDispose]() {
      server.kill('SIGINT')
      if (server.exitCode === null) await once(server, 'exit')
      rmSync(path, { recursive: true, force: true })
    },
  }
}

async function untilReady(server: ChildProcess): Promise<void> {
  let said = ''
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.stderr?.on('data', (text: Buffer) => {
    said += text.toString()
    if (said.includes('database system is ready to accept connections')) resolve()
  })
  server.once('exit', () => reject(new Error(`PostgreSQL ended: ${said}`)))
  await promise
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
